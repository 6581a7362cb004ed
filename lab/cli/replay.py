"""`lab replay`: a recorded plan once more, and whether it is the same run.

Not here: running and comparing (`lab.wiring.replay`).
"""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lab.cli import options
from lab.cli.exit_codes import ExitCode
from lab.cli.flag_values import FlagValues
from lab.cli.output import print_result
from lab.cli.stopping import ended_as_by_ctrl_c

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import RenderableType

    from lab.wiring.replay import Replay

_SHOWN_MAX: Final = 12

RunOrPlan = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN|PLAN",
        help="A kept run, as of `lab report`, or a plan.json.  [latest]",
        show_default=False,
    ),
]


def replay(
    run: RunOrPlan = None,
    *,
    out: options.Out = None,
    keep_runs: options.KeepRuns = None,
    json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    no_color: options.NoColor = False,
) -> int:
    """Run a recorded plan again: the same faults on the same orders, without any chance.

    The new run is kept like any other. A run on the wall clock is compared by its verdict and its
    broken promises, any other by the digest of its history.

    Exit code: 0 it is the same run, 2 wrong usage, or the plan cannot be used, 4 a server is
    missing, 6 it is another run, 130 interrupted.
    """
    from msgspec import json as as_json

    from lab.cli import render
    from lab.cli.list_ import prune
    from lab.wiring import replay as replays

    values = FlagValues()
    place = Path(values.text_or("out", out, str(options.DEFAULT_OUT)))
    keep = options.read_keep_runs(values, keep_runs)
    is_json, is_plain = values.switch("json", flag=json), values.switch("no-color", flag=no_color)
    found = find_plan(run, place)
    is_wanted = not (is_json or values.switch("quiet", flag=quiet))
    with render.ProgressBar("replay", is_wanted=is_wanted) as bar, ended_as_by_ctrl_c():
        done = replays.replay(found, out=place, on_progress=bar)
    if is_json:
        print_result(as_json.format(as_json.encode(done), indent=2) + b"\n")
    else:
        width = render.width_of_output()
        print_result(render.to_text(_page(done, width), width=width, is_plain=is_plain))
    prune(place, keep)
    if done.result.partial:
        return ExitCode.INTERRUPTED
    return ExitCode.PASS if done.is_same else ExitCode.DIFFERS


def find_plan(name: str | None, out: Path) -> Path:
    """The plan file that a user names, or the folder of the run.

    Raises:
        RunNameError: there is neither.
    """
    from lab.report.kept_runs import find_run

    if name is not None and (Path(name).is_file() or name.endswith(".json")):
        return Path(name)
    return find_run(name, out)


def _page(done: "Replay", width: int) -> "Iterable[RenderableType]":
    from lab.cli import render

    result = done.result
    yield render.headline(result, width=width)
    yield render.labelled(_facts(done))
    if not done.is_same and result.run_dir is not None and done.compared_by == "digest":
        folder = Path(done.plan).parent
        both = [str(folder), "--beside", result.run_dir]
        yield from render.command_lines("Story", [shlex.join(["lab", "explain", *both])])


def _facts(done: "Replay") -> "Iterable[tuple[str, str]]":
    result = done.result
    yield "Plan", done.plan
    if result.partial:
        yield "Compared", "nothing: interrupted"
    elif done.compared_by == "nothing":
        yield "Compared", "nothing: the plan was edited, or its run was interrupted"
    elif done.is_same:
        count = f", {result.history_entries:,} entries" if done.compared_by == "digest" else ""
        yield "Same", f"{done.compared_by} {done.found}{count}"
    else:
        yield "Differs", f"{done.compared_by} {done.expected} then, {done.found} now"
        if done.made_by != done.lab:
            yield "Version", f"lab {done.made_by} ran it then, this is lab {done.lab}"
        yield from _first(done)
    for note in result.notes:
        yield "Note", note
    if result.run_dir is not None:
        yield "Files", result.run_dir


def _first(done: "Replay") -> "Iterable[tuple[str, str]]":
    first = done.first_difference
    if first is None:
        if done.compared_by == "digest":
            yield "First entry", "nobody can tell: the history of one of the runs is not there"
        return
    yield "First entry", f"line {first.number:,} of history.ndjson"
    yield "  then", _told(first.then, first.now)
    yield "  now", _told(first.now, first.then)


def _told(entry: "Mapping[str, object] | None", other: "Mapping[str, object] | None") -> str:
    """An entry: its kind, and above all the fields in which it is not like the other."""
    if entry is None:
        return "no entry: the history is over"
    head = ("kind", "t_us", "process", "subject")
    differ = [name for name in entry if other is None or entry[name] != other.get(name)]
    shown = dict.fromkeys((*head, *differ))
    return "  ".join(f"{name}={entry[name]}" for name in [*shown][:_SHOWN_MAX] if name in entry)
