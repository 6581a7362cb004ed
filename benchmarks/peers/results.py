"""Everything that a run of the comparison has found; what the page is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.peers.kafka_rounds import KafkaRound
from lab.bench.interpreter import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What was found, and where.

    Attributes:
        date: of the run, as in 2026-01-31.
        machine: see `Machine`.
        broker: its version, as far as it says it.
        versions: of every distribution that took part.
        missing: why a consumer or a loop did not take part, by its name.
        kafka: for each round, by consumer.
        loops: for each round, events a second by loop and program.
        traces: by loop and trace: how many different orders the same seed had.
    """

    date: str
    machine: Machine
    broker: str
    versions: Mapping[str, str]
    missing: Mapping[str, str] = field(default_factory=dict)
    kafka: Sequence[Mapping[str, KafkaRound]] = ()
    loops: Sequence[Mapping[str, Mapping[str, float]]] = ()
    traces: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
