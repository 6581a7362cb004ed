"""`lab ship`: logs and spans of a kept run to Elasticsearch, an OpenTelemetry backend or a folder.

Not here: how they get there (`lab.wiring.shipping`).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lab.cli import options
from lab.cli.exit_codes import ExitCode
from lab.cli.output import OutputError, print_message, print_result
from lab.cli.run_names import find_run
from lab.settings import environment

if TYPE_CHECKING:
    from lab.report.result import Result
    from lab.wiring.seen_run import SeenRun
    from lab.wiring.shipping import ShipReport

RunName = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help="Folder or name of a kept run: `latest`, `latest~1`, `duplicates`.  [latest]",
        show_default=False,
    ),
]
To = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="elasticsearch|otlp|DIR",
        help="Elasticsearch or OpenSearch at LAB_ELASTICSEARCH_URL, an OpenTelemetry backend at "
        "--endpoint, or a folder for spans.ndjson and logs.ndjson.",
    ),
]
Endpoint = Annotated[
    str | None,
    typer.Option("--endpoint", metavar="URL", help="Where to, instead of the usual address."),
]
ELASTICSEARCH: Final = "elasticsearch"
OTLP: Final = "otlp"


def ship(
    run: RunName = None,
    *,
    to: To = ELASTICSEARCH,
    endpoint: Endpoint = None,
    out: options.Out = None,
    json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> int:
    """Ship the logs and spans of a kept run. What was shipped before is stored once.

    Exit code: 0 everything is there, 1 a document was refused or is missing, 2 wrong usage, 4 the
    server is away.
    """
    from lab.wiring.seen_run import SeenRun

    seen = SeenRun(find_run(run, Path(out) if out else options.DEFAULT_OUT))
    report = ship_run(seen, to, endpoint, is_quiet=quiet or json)
    if json:
        import msgspec

        print_result(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    else:
        print_result("".join(f"{line}\n" for line in lines_of(report)))
    return ExitCode.FAIL if report.missing else ExitCode.PASS


def ship_run(run: "SeenRun", to: str, endpoint: str | None, *, is_quiet: bool) -> "ShipReport":
    """Ship a run, with a bar.

    Raises:
        EnvironmentNotReady: the server is away.
        OutputError: the folder cannot be written.
    """
    from lab.cli import render
    from lab.wiring import shipping

    with render.ProgressBar("shipping", is_wanted=not is_quiet) as bar:

        def progress(done: int) -> None:
            if bar is not None:
                bar(done, None, "documents")

        variables = environment()
        if to == OTLP:
            url = endpoint or variables.get("OTLP_URL") or shipping.OTLP
            return shipping.to_otlp(run, url, progress)
        if to == ELASTICSEARCH:
            url = endpoint or variables.get("ELASTICSEARCH_URL") or shipping.ELASTICSEARCH
            return shipping.to_elasticsearch(run, url, progress)
        try:
            return shipping.to_folder(run, Path(to), progress)
        except OSError as bad:
            raise OutputError(f"cannot write to {to}: {bad.strerror}; name another DIR") from None


def ship_result(result: "Result", *, is_quiet: bool) -> None:
    """Ship a run that has just ended, and say so beside its page.

    Raises:
        EnvironmentNotReady: the server is away; the run is kept.
    """
    from lab.wiring.seen_run import SeenRun

    assert result.run_dir is not None, "one run keeps its files"
    report = ship_run(SeenRun(Path(result.run_dir)), ELASTICSEARCH, None, is_quiet=is_quiet)
    for line in lines_of(report):
        print_message(f"lab: {line}")


def lines_of(report: "ShipReport") -> list[str]:
    """What a shipment came to, for people."""
    lines = [f"{report.run}: {report.sent:,} documents to {report.to}"]
    if report.files is not None:
        lines = [
            f"{report.run}: {many:,} lines in {report.to}/{name}"
            for name, many in report.files.items()
        ]
    if report.documents is not None:
        found = report.documents
        lines.append(
            f"{found.created:,} stored now, {found.existing:,} were there before, "
            f"{found.refused:,} refused; the server has {report.stored:,} of this run"
        )
        lines += [f"refused: {one.id} in {one.target}: {one.reason}" for one in found.refusals]
    if not report.is_whole:
        lines.append(
            "The history of this run holds some of its orders only: more than 2,000 were posted. "
            "Run it again with --history all to ship every order."
        )
    return lines
