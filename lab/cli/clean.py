"""`lab clean`: removes what runs that were killed have left on the servers and on this machine.

Not here: how a run that lives is told from one that was killed (`lab.wiring.worlds.run_lock`).
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lab.cli import options
from lab.cli.exit_codes import ExitCode
from lab.cli.flag_values import FlagValues, OptionError
from lab.cli.output import can_be_asked, print_message, print_result

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lab.wiring.leftovers import Leftover

_STATES: Final = {
    "killed": "its run was killed",
    "running": "in use: left alone",
    "elsewhere": "its lock names other servers: left alone",
    "no lock": "kept with --keep, or of another machine: removed only by name",
}

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        help="Of these runs, also if they were kept.  [all whose run was killed]",
        show_default=False,
    ),
]


def clean(
    names: Names = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what is there, and remove nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: options.Json = False,
    no_color: options.NoColor = False,
) -> int:
    """Remove what killed runs have left: topics, groups, schemas, keys, temporary folders.

    All of it is listed first, and it is asked; without a terminal nothing is removed unless --yes
    was given. A run that lives on this machine, a standing system, and what is not the lab's are
    never touched. Of a run of another machine or container only members of its groups tell that it
    lives: name one only if you know. The servers are those of LAB_KAFKA_BOOTSTRAP,
    LAB_POSTGRES_DSN and LAB_REDIS_URL.

    Exit code: 0 nothing of a killed run is left, or it was only listed; 2 wrong usage; 4 no server
    is there, or something could not be removed.
    """
    from lab.wiring import leftovers

    values, is_dry, is_sure = FlagValues(), dry_run, yes
    is_json, is_plain = values.switch("json", flag=json), values.switch("no-color", flag=no_color)
    looked = leftovers.look()
    for why in looked.away:
        print_message(f"lab: not looked at: {why}")
    chosen = _chosen(looked.found, names or ())
    if not is_json:
        _print(_page(looked.found), is_plain=is_plain)
    if chosen and not is_dry and not is_sure:
        if not can_be_asked():
            print_message("lab: nothing was removed: --yes does it")
            is_dry = True
        elif not typer.confirm(f"Remove everything of {_runs(len(chosen))}?", err=True):
            print_message("lab: nothing was removed")
            is_dry = True
    done = leftovers.Cleaned(removed=(), failed=()) if is_dry else leftovers.clean(chosen)
    if is_json:
        import msgspec

        document = {
            "found": looked.found,
            "away": looked.away,
            "removed": done.removed,
            "failed": done.failed,
        }
        print_result(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    elif done.removed:
        print_message(f"lab: everything of {_runs(len(done.removed))} is gone")
    for why in done.failed:
        print_message(f"lab: could not be removed: {why}")
    return ExitCode.NOT_READY if done.failed else ExitCode.PASS


def _chosen(found: "Sequence[Leftover]", names: Sequence[str]) -> "list[Leftover]":
    """The runs that are meant.

    Raises:
        OptionError: there is no such run, or it is in use.
    """
    if not names:
        return [one for one in found if one.is_over]
    known = {one.name: one for one in found}
    for name in names:
        if name not in known:
            raise OptionError(f"nothing is left of a run named {name!r} (see: lab clean --dry-run)")
        if known[name].state in ("running", "elsewhere"):
            raise OptionError(f"{name} cannot be removed: {_STATES[known[name].state]}")
    return [known[name] for name in dict.fromkeys(names)]


def _page(found: "Sequence[Leftover]") -> "Iterator[RenderableType]":
    from lab.cli import render

    if not found:
        yield "no run has left anything"
        return
    cells = [
        (
            one.name,
            *(_count(many) for many in (one.topics, one.groups, one.schemas, one.keys)),
            one.folder or "-",
            _STATES[one.state],
        )
        for one in found
    ]
    yield render.listing(("Run", "Topics", "Groups", "Schemas", "Keys", "Folder", ""), cells)


def _print(page: "Iterator[RenderableType]", *, is_plain: bool) -> None:
    from lab.cli import render

    print_result(render.to_text(page, width=render.width_of_output(), is_plain=is_plain))


def _count(many: int | None) -> str:
    return "?" if many is None else str(many)


def _runs(count: int) -> str:
    return f"{count} run" + ("" if count == 1 else "s")
