"""`lab explain`: the story of one order, as a waterfall in the terminal.

Three sentences first, then where it parts from a healthy run, then every step. Not here: what the
story is made of (`lab.wiring.stories`).
"""

from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lab.cli import options
from lab.cli.exit_codes import ExitCode
from lab.cli.flag_values import FlagValues, OptionError
from lab.cli.output import print_result
from lab.cli.stopping import ended_as_by_ctrl_c

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from lab.report.html.axis import TimeAxis
    from lab.story.marks import Mark
    from lab.story.steps import StoryStep
    from lab.story.story import PartsHere, Side, Story

BAR_FROM: Final = 70
"""Columns from which on there is room for a picture of the time."""
SIDES_FROM: Final = 76
BAR_MIN, BAR_MAX = 18, 48
_INDENT: Final = 2
_WHO: Final = 13
_WHEN: Final = 9
_TOLD: Final = 8
_SIGNS: Final = {
    "fault": ("!", "bold yellow", "fault"),
    "suppressed": ("o", "bold green", "duplicate suppressed"),
    "dead": ("D", "bold red", "dead letter"),
    "crash": ("X", "bold red", "process killed"),
    "turn": ("#", "bold red", "from here on it was inevitable"),
    "fact": ("*", "", "stored, or done by a third party"),
    "note": ("-", "dim", "what else is said below a step"),
}

Order = Annotated[
    str | None,
    typer.Option(
        "--order",
        metavar="N",
        help="Of this order.  [the witness of the first broken promise, else the most eventful]",
    ),
]
Beside = Annotated[
    str | None,
    typer.Option("--beside", metavar="OTHER", help="Show where it parts from another kept run."),
]


def explain(
    run: options.RunName = None,
    *,
    order: Order = None,
    beside: Beside = None,
    out: options.Out = None,
    json: options.Json = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="The sentences only, and no progress bar.")
    ] = False,
    no_color: options.NoColor = False,
) -> int:
    """Tell the story of one order of a kept run.

    What was promised, what happened instead, and which entry is the first that made it inevitable;
    then its way over API, services, bus, stores and third parties. Of a run with --off the same
    plan is run with the patterns on, and the first difference is shown.

    Exit code: 0 it is told, 2 wrong usage, or the run cannot be read, 130 interrupted.
    """
    from msgspec import json as as_json

    from lab.cli import render
    from lab.report.kept_runs import find_run
    from lab.wiring.stories import Storyteller

    values = FlagValues()
    place = Path(values.text_or("out", out, str(options.DEFAULT_OUT)))
    is_json, is_plain = values.switch("json", flag=json), values.switch("no-color", flag=no_color)
    is_quiet = values.switch("quiet", flag=quiet)
    ordinal = values.whole("order", order)
    if ordinal == 0:
        raise OptionError("--order must be 1 or more: orders are counted from 1")
    folder = find_run(run, place)
    other = None if beside is None else Storyteller(find_run(beside, place))
    teller = Storyteller(folder)
    with (
        render.ProgressBar("with the patterns on", is_wanted=not (is_quiet or is_json)) as bar,
        ended_as_by_ctrl_c(),
    ):
        story = teller.story(ordinal, beside=other, on_progress=bar)
    if is_json:
        print_result(as_json.format(as_json.encode(story), indent=2) + b"\n")
        return ExitCode.PASS
    width = render.width_of_output()
    page = _head(story) if is_quiet else story_page(story, width=width)
    print_result(render.to_text(page, width=width, is_plain=is_plain))
    return ExitCode.PASS


def story_page(story: "Story", *, width: int) -> "Iterable[RenderableType]":
    """The story for people."""
    yield from _head(story)
    if story.parting is not None:
        yield ""
        yield from _parting(story.parting, width)
    yield ""
    yield from _waterfall(story, width)


def _head(story: "Story") -> "Iterable[RenderableType]":
    from rich.text import Text

    from lab.cli import render

    yield Text(
        f"order {story.order} of {story.run}   {story.mode}   seed {story.seed}   {story.verdict}",
        "bold",
    )
    if story.why:
        yield Text(story.why, "dim")
    yield render.labelled([(one.label, one.text) for one in story.sentences])
    if story.turning_entry is not None:
        line = f"line {story.turning_entry:,} of history.ndjson"
        yield render.labelled([("Entry", line)])
    if story.notes:
        yield render.labelled([("Note", note) for note in story.notes])


# ---- where it parts


def _parting(parting: "PartsHere", width: int) -> "Iterable[RenderableType]":
    from rich.text import Text

    if not parting.sides:
        yield Text("Both runs do the same with this order.", "bold")
        return
    yield Text("Where the two runs part", "bold")
    if parting.before:
        yield Text(f"  both:  {parting.before}")
    if width >= SIDES_FROM:
        room = (width - 4) // 2
        columns = [_side(side, room) for side in parting.sides]
        for left, right in zip_longest(*columns, fillvalue=""):
            yield Text(f"  {left:<{room}}  {right}".rstrip(), no_wrap=True)
        return
    for side in parting.sides:
        yield Text(f"  {side.label}:", "bold")
        for told in side.told:
            for part in _folded(told, width - 4, indent=_TOLD):
                yield Text(f"    {part}")


def _side(side: "Side", room: int) -> "list[str]":
    """A column of text."""
    lines = [f"{side.label}:"]
    for told in side.told:
        lines += _folded(told, room, indent=_TOLD)
    return lines


# ---- the waterfall


def _waterfall(story: "Story", width: int) -> "Iterable[RenderableType]":
    from rich.text import Text

    if not story.steps:
        yield Text("The steps of this order were not kept.")
        return
    from lab.report.html.axis import TimeAxis

    steps = story.steps
    moments = [moment for step in steps for moment in (step.start_us, step.end_us)]
    moments += [mark.at_us for step in steps for mark in step.marks]
    time = TimeAxis(min(moments), max(moments), moments)
    bar = 0
    if width >= BAR_FROM and max(moments) > min(moments):
        bar = min(max(width - 66, BAR_MIN), BAR_MAX)
    yield from (_aligned(line) for line in _rows(steps, time, story.epoch_us, width, bar))
    yield ""
    yield from _key(steps, time, width, bar)


def _aligned(line: "tuple[str, str]") -> "RenderableType":
    from rich.text import Text

    return Text(line[0], line[1], no_wrap=True, overflow="ignore")


def _rows(
    steps: "Sequence[StoryStep]", time: "TimeAxis", epoch_us: int, width: int, bar: int
) -> "Iterable[tuple[str, str]]":
    """Lines with their style, none longer than the width.

    What happened at one moment of a step stands before the part of it that began later.
    """
    who = _WHO if width >= BAR_FROM else 0
    waiting: list[tuple[StoryStep, list[Mark]]] = []
    for step in steps:
        while waiting and waiting[-1][0].depth >= step.depth:
            outer, marks = waiting.pop()
            yield from _marks(outer, marks, epoch_us, width, who)
        for outer, marks in waiting:
            before = [mark for mark in marks if mark.at_us <= step.start_us < outer.end_us]
            yield from _marks(outer, before, epoch_us, width, who)
            del marks[: len(before)]
        yield from _line(step, time, epoch_us, width, bar)
        waiting.append((step, sorted(step.marks, key=lambda mark: mark.at_us)))
    for outer, marks in reversed(waiting):
        yield from _marks(outer, marks, epoch_us, width, who)


def _line(
    step: "StoryStep", time: "TimeAxis", epoch_us: int, width: int, bar: int
) -> "Iterable[tuple[str, str]]":
    """The line of a step, and those that it is continued on."""
    who = _WHO if width >= BAR_FROM else 0
    room = width - _WHEN - who - (bar + 2 if bar else 0)
    text = step.text if who else f"{step.service}: {step.text}"
    if step.failure:
        text += f" - {step.failure}"
    name = f"{step.service[: _WHO - 1]:<{_WHO}}" if who else ""
    style = "red" if step.failure else ""
    indent = "  " * step.depth
    folded = _folded(text, room - len(indent), indent=_INDENT)
    drawn = _drawn(step, time, bar) if bar else ""
    when = _when(step.start_us - epoch_us)
    yield f"{when:>{_WHEN - 2}}  {name}{indent + folded[0]:<{room}}  {drawn}".rstrip(), style
    for part in folded[1:]:
        yield f"{'':{_WHEN + who}}{indent}{part}", style


def _marks(
    step: "StoryStep", marks: "Iterable[Mark]", epoch_us: int, width: int, who: int
) -> "Iterable[tuple[str, str]]":
    """Lines below a step; commits are worth none."""
    indent = _WHEN + who + _INDENT * (step.depth + 1)
    for mark in marks:
        if mark.text in ("commit", step.text) or _is_step_itself(mark, step):
            continue
        letter, style, _ = _SIGNS[mark.sign.value]
        text = f"{letter} {mark.text}"
        if mark.sign.value == "turn":
            text += "   <-- inevitable from here on"
        when = _when(mark.at_us - epoch_us) if mark.at_us > step.start_us else ""
        for part in _folded(text, width - indent, indent=_INDENT):
            yield f"{when:>{_WHEN - 2}}{'':{indent - _WHEN + 2}}{part}", style
            when = ""


def _is_step_itself(mark: "Mark", step: "StoryStep") -> bool:
    return mark.sign.value != "turn" and mark.text.endswith(step.text) and len(step.marks) == 1


def _folded(text: str, room: int, *, indent: int) -> "list[str]":
    """The text in lines that fit, the further ones indented."""
    import textwrap

    return textwrap.wrap(text, max(room, 16), subsequent_indent=" " * min(indent, room // 2)) or [
        ""
    ]


def _when(us: int) -> str:
    """A moment since the run began: `0.142s`, `62.1s`, `75m02s`, `31h05m`."""
    seconds = us / 1_000_000
    if seconds < 100:
        return f"{seconds:.3f}s"
    if seconds < 1_000:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    return (
        f"{whole // 60}m{whole % 60:02}s"
        if whole < 36_000
        else f"{whole // 3600}h{whole // 60 % 60:02}m"
    )


def _drawn(step: "StoryStep", time: "TimeAxis", bar: int) -> str:
    """The step in its time: `=` work, `.` waiting, and the signs of its marks."""
    cells = [" "] * bar
    first, last = _cell(time, step.start_us, bar), _cell(time, step.end_us, bar)
    if not (step.start_us == step.end_us and step.marks):
        cells[first : last + 1] = ("." if step.is_wait else "=") * (last - first + 1)
    for begin, end in time.cuts:
        for place in range(_cell(time, begin, bar) + 1, _cell(time, end, bar)):
            cells[place] = "~" if cells[place] == " " else cells[place]
    order = list(_SIGNS)
    for mark in sorted(step.marks, key=lambda mark: -order.index(mark.sign.value)):
        if mark.sign.value != "note":
            cells[_cell(time, mark.at_us, bar)] = _SIGNS[mark.sign.value][0]
    return "".join(cells).rstrip()


def _cell(time: "TimeAxis", at_us: float, bar: int) -> int:
    return min(int(time.at(at_us) / 100 * bar), bar - 1)


def _key(
    steps: "Sequence[StoryStep]", time: "TimeAxis", width: int, bar: int
) -> "Iterable[RenderableType]":
    """What the signs of this story mean."""
    from rich.text import Text

    from lab.story.words import length

    used = {mark.sign.value for step in steps for mark in step.marks}
    told = [f"{letter} {means}" for sign, (letter, _, means) in _SIGNS.items() if sign in used]
    if bar:
        took = length(int(time.end_us - time.start_us))
        told.insert(0, f"= at work, of {took} in all")
        told += [". waiting"] if any(step.is_wait for step in steps) else []
        cut = ", ".join(length(int(end - begin)) for begin, end in time.cuts)
        told += [f"~ time in which nothing happened, drawn shorter ({cut})"] if cut else []
    line = ""
    for one in told:
        if line and len(line) + len(one) + 3 > width:
            yield Text(line, "dim")
            line = ""
        line += f"   {one}" if line else one
    yield Text(line, "dim")
