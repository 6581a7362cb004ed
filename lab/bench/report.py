"""The report of a bench: one object with its figures and the circumstances of their measurement.

No figure of it is a promise about another machine. Not here: measuring (`bench`, `real`), and
printing (`lab.cli.bench`).
"""

import msgspec

from lab.bench.comparing import Compared
from lab.bench.figures import SCHEMA_VERSION, Figure
from lab.bench.interpreter import Machine
from lab.bench.latency import Latency
from lab.bench.thresholds import ThresholdMet
from lab.domain.json_schema import with_clean_texts


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The common part of both reports. A published schema explains every field in one place.

    So the fields are explained by the reports of `bench` and `real`.
    """

    schema_version: int
    lab: str
    machine: Machine
    rounds: int
    figures: tuple[Figure, ...]
    latency: Latency | None
    wall_s: float
    parts: tuple[str, ...] = ()
    thresholds: tuple[ThresholdMet, ...] = ()
    compared: tuple[Compared, ...] = ()
    not_now: tuple[str, ...] = ()
    not_before: tuple[str, ...] = ()


def encode_report(report: Report) -> bytes:
    """A report as `--json` prints it: one JSON object, indented, with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def report_schema(kind: type[Report], command: str) -> bytes:
    """The JSON Schema of the reports that `command` prints."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{command}, schema_version {SCHEMA_VERSION}",
        **with_clean_texts(msgspec.json.schema(kind)),
    }
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"
