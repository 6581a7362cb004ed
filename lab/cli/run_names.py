"""Which kept run a user means: a folder, `latest`, or the unique beginning of a name.

Not here: what is in the folder (`lab.wiring.seen_run`).
"""

from pathlib import Path
from typing import Final

from lab.cli.flag_values import OptionError

LATEST: Final = "latest"
_LISTED_MAX: Final = 10


def find_run(name: str | None, out: Path) -> Path:
    """The folder of a run.

    Args:
        name: a path, or a name below `out` such as `latest`, `latest~1`, `duplicates` or the
            beginning of `duplicates/20250101T120000Z-s7`; None means `latest`.
        out: where folders of runs are kept.

    Raises:
        OptionError: there is none, or there are several; the message lists them.
    """
    asked = name or LATEST
    if name and (path := Path(name)).is_dir() and (path / "result.json").is_file():
        return path
    runs = _newest_first(out)
    if not runs:
        raise OptionError(f"there is no run in {out}; make one: lab run happy-path")
    head, tilde, back = asked.partition("~")
    if head == LATEST and (not tilde or back.isdigit()):
        number = int(back or 0)
        if number >= len(runs):
            many = "is only 1 run" if len(runs) == 1 else f"are only {len(runs)} runs"
            raise OptionError(f"there {many} in {out}, so there is no {asked}")
        return runs[number]
    found = [run for run in runs if _is_meant(run, asked)]
    same = [run for run in found if asked in (run.name, f"{run.parent.name}/{run.name}")]
    if len(same or found) == 1:
        return (same or found)[0]
    if not found:
        raise OptionError(f"there is no run {asked!r} in {out}; see: lab list --runs")
    names = ", ".join(f"{run.parent.name}/{run.name}" for run in found[:_LISTED_MAX])
    more = f", and {len(found) - _LISTED_MAX} more" if len(found) > _LISTED_MAX else ""
    raise OptionError(f"{asked!r} may be one of {len(found)} runs: {names}{more}")


def _newest_first(out: Path) -> list[Path]:
    folders = [
        folder
        for folder in out.glob("*/*-s*")
        if not folder.name.startswith(".") and (folder / "result.json").is_file()
    ]
    return sorted(folders, key=lambda one: (one.name, one.parent.name), reverse=True)


def _is_meant(run: Path, asked: str) -> bool:
    full = f"{run.parent.name}/{run.name}"
    return full.startswith(asked) or run.name.startswith(asked)
