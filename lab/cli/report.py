"""`lab report`: the report of a kept run as one HTML file, alone or beside another run.

Not here: what it is made from (`lab.wiring.reporting`), and what it looks like (`lab.report.html`).
"""

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lab.cli import options
from lab.cli.exit_codes import ExitCode
from lab.cli.output import OutputError, check_file, print_message, print_result, write_file

if TYPE_CHECKING:
    from lab.report.course import CourseFold
    from lab.report.result import Result

REPORT: Final = "report.html"
Beside = Annotated[
    str | None,
    typer.Option("--beside", metavar="RUN", help="Show what differs from another run."),
]
Html = Annotated[
    str | None,
    typer.Option("--html", metavar="FILE", help="Where to.  [report.html in the run's folder]"),
]
Open = Annotated[bool, typer.Option("--open", help="Open it in a browser.")]


def report(
    run: options.RunName = None,
    *,
    beside: Beside = None,
    html: Html = None,
    open_: Open = False,
    out: options.Out = None,
) -> int:
    """Write the report of a kept run: one HTML file that needs neither network nor script.

    Exit code: 0 it is written, 2 wrong usage, or the run cannot be read.
    """
    from lab.report.kept_runs import find_run
    from lab.wiring.reporting import RunReport

    place = Path(out) if out else options.DEFAULT_OUT
    folder = find_run(run, place)
    other = None if beside is None else find_run(beside, place)
    path = folder / _name(other) if html is None else Path(html)
    check_file(path)
    made = RunReport(folder)
    text = made.html() if other is None else made.html_beside(RunReport(other))
    write_file(path, text.encode())
    print_result(f"{path}\n")
    if open_ and not webbrowser.open(path.resolve().as_uri()):
        print_message(f"lab: no browser was found here; open {path} in one")
    return ExitCode.PASS


def counting() -> "CourseFold":
    """Counts over the time of a run while it goes: of a long one its folder keeps some orders."""
    from lab.report.course import CourseFold

    return CourseFold()


def write_html(path: Path, result: "Result", counted: "CourseFold") -> None:
    """Write the report of a run that has just ended.

    Raises:
        OutputError: it cannot be written.
    """
    from lab.wiring.reporting import RunReport

    if result.run_dir is None:
        raise OutputError("no report: the run could not be kept (see Note)")
    made = RunReport(Path(result.run_dir), counted.course())
    write_file(path, made.html().encode())


def _name(other: Path | None) -> str:
    """The file of a report in the folder of its run."""
    if other is None:
        return REPORT
    return f"beside-{other.resolve().parent.name}-{other.resolve().name}.html"
