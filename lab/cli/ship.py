"""`lab ship`: logs and spans of a kept run to Elasticsearch, an OpenTelemetry backend or a folder.

Not here: how they get there (`lab.wiring.shipping`).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lab.cli import options
from lab.cli.exit_codes import ExitCode
from lab.cli.flag_values import OptionError
from lab.cli.output import OutputError, print_message, print_result
from lab.settings import environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lab.observe.templates import TemplateState
    from lab.report.result import Result
    from lab.wiring.kibana_links import KibanaLinks
    from lab.wiring.seen_run import SeenRun
    from lab.wiring.shipping import ShipReport

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
Templates = Annotated[
    bool,
    typer.Option(
        "--templates",
        help="Load lifecycle, component and index templates first; without RUN nothing else.",
    ),
]
ELASTICSEARCH: Final = "elasticsearch"
OTLP: Final = "otlp"


def ship(
    run: options.RunName = None,
    *,
    to: To = ELASTICSEARCH,
    endpoint: Endpoint = None,
    templates: Templates = False,
    out: options.Out = None,
    json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> int:
    """Ship the logs and spans of a kept run. What was shipped before is stored once.

    Elasticsearch needs the lab's templates once: lab ship --templates. With LAB_KIBANA_URL the
    addresses of a trace and of the dashboard are printed too.

    Exit code: 0 everything is there, 1 a document or a template was refused, or a document is
    missing, 2 wrong usage, 4 the server is away.
    """
    if templates and to != ELASTICSEARCH:
        raise OptionError(f"--templates are of Elasticsearch, not of --to {to}: leave one out")
    states = load_templates(endpoint) if templates else None
    if states is not None and run is None:
        return _templates_only(states, endpoint, is_json=json)
    return _ship(run, to, endpoint, out, states, is_json=json, is_quiet=quiet or json)


def _ship(
    run: str | None,
    to: str,
    endpoint: str | None,
    out: str | None,
    states: "Sequence[TemplateState] | None",
    *,
    is_json: bool,
    is_quiet: bool,
) -> int:
    from msgspec.structs import replace

    from lab.report.kept_runs import find_run
    from lab.wiring.seen_run import SeenRun

    seen = SeenRun(find_run(run, Path(out) if out else options.DEFAULT_OUT))
    report = ship_run(seen, to, endpoint, is_quiet=is_quiet)
    report = replace(report, templates=states, links=links_of(seen.result, seen.folder))
    if is_json:
        _print_json(report)
    else:
        links = [f"{name}: {url}" for name, url in link_lines(report.links)]
        _print_lines((*template_lines(states or ()), *lines_of(report), *links))
    is_whole = not report.missing and not _failed(states or ())
    return ExitCode.PASS if is_whole else ExitCode.FAIL


def _templates_only(
    states: "Sequence[TemplateState]", endpoint: str | None, *, is_json: bool
) -> int:
    from lab.wiring.shipping import TemplatesReport, address_of

    if is_json:
        _print_json(TemplatesReport(to=address_of(_elasticsearch(endpoint)), templates=states))
    else:
        _print_lines(template_lines(states))
    return ExitCode.FAIL if _failed(states) else ExitCode.PASS


def load_templates(endpoint: str | None) -> "Sequence[TemplateState]":
    """Load the lab's templates.

    Raises:
        EnvironmentNotReady: the server is away.
    """
    from lab.wiring.shipping import load_templates_at

    return load_templates_at(_elasticsearch(endpoint))


def _elasticsearch(endpoint: str | None) -> str:
    from lab.wiring import shipping

    return endpoint or environment().get("ELASTICSEARCH_URL") or shipping.ELASTICSEARCH


def _failed(states: "Sequence[TemplateState]") -> bool:
    return any(one.state == "failed" for one in states)


def _print_json(report: object) -> None:
    import msgspec

    print_result(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def _print_lines(lines: "Iterable[str]") -> None:
    print_result("".join(f"{line}\n" for line in lines))


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

        if to == OTLP:
            url = endpoint or environment().get("OTLP_URL") or shipping.OTLP
            return shipping.to_otlp(run, url, progress)
        if to == ELASTICSEARCH:
            return shipping.to_elasticsearch(run, _elasticsearch(endpoint), progress)
        try:
            return shipping.to_folder(run, Path(to), progress)
        except OSError as bad:
            raise OutputError(f"cannot write to {to}: {bad.strerror}; name another DIR") from None


def ship_result(result: "Result", *, is_quiet: bool) -> bool:
    """Ship a run that has just ended, and say so beside its page; returns whether all is there.

    A server that is away spoils nothing: the run is kept and can be shipped later.
    """
    from lab.domain.errors import EnvironmentNotReady
    from lab.wiring.seen_run import SeenRun

    if result.run_dir is None:
        print_message("lab: not shipped: the run could not be kept (see Note)")
        return False
    try:
        report = ship_run(SeenRun(Path(result.run_dir)), ELASTICSEARCH, None, is_quiet=is_quiet)
    except EnvironmentNotReady as away:
        print_message(f"lab: not shipped: {' '.join(str(away).split())}")
        print_message(f"lab: the run is kept; later: lab ship {result.run_dir}")
        return False
    for line in lines_of(report):
        print_message(f"lab: {line}")
    return not report.missing


def links_of(result: "Result", folder: Path) -> "KibanaLinks | None":
    """Where a kept run can be looked at; None without LAB_KIBANA_URL."""
    kibana = environment().get("KIBANA_URL")
    if not kibana:
        return None
    from lab.wiring.kibana_links import kibana_links

    return kibana_links(result, folder, kibana)


def link_lines(links: "KibanaLinks | None") -> list[tuple[str, str]]:
    """The addresses of a run for people, by what is shown there."""
    if links is None:
        return []
    trace = [] if links.trace is None else [(f"Order {links.order}", links.trace)]
    return [*trace, ("Dashboard", links.dashboard)]


def template_lines(states: "Sequence[TemplateState]") -> list[str]:
    """What became of the templates, for people."""
    return [
        " ".join(filter(None, (f"{one.state:<7}", one.path, one.why and f"({one.why})")))
        for one in states
    ]


def lines_of(report: "ShipReport") -> list[str]:
    """What a shipment came to, for people."""
    kind = "spans" if report.stored is None else "documents"
    lines = [f"{report.run}: {report.sent:,} {kind} to {report.to}"]
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
