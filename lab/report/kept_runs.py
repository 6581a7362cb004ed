"""The runs that are kept in a folder: their order, their names, what is known of each, and pruning.

Not here: making the folder of a run (`run_folder`), and what stands in it (`lab.wiring.seen_run`).
"""

import contextlib
import re
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from lab.report.run_folder import LATEST

_NAME: Final = re.compile(r"(\d{8}T\d{6}Z)-s\d+(?:-\d+)?")
_UTC: Final = "%Y%m%dT%H%M%S%z"
_TIME_LENGTH: Final = 16
_REMOVED: Final = ".removed"
_LISTED_MAX: Final = 10


class RunNameError(ValueError):
    """No run has that name, or several have; the message says which there are."""


class KeptRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run as `lab list --runs` shows it.

    Attributes:
        began: the instant at which its folder was named, RFC 3339, UTC; "" if its name does not
            say.
        bytes_kept: of all files in its folder.
        path: its folder.
    """

    scenario: str
    seed: int
    verdict: str
    digest: str
    mode: str = ""
    reproduce: str = ""
    began: str = ""
    bytes_kept: int = 0
    path: str = ""


def run_folders(out: Path) -> list[Path]:
    """The folders of the runs in `out`, newest first: `latest`, then by the time in the name."""
    folders = [
        folder
        for folder in out.glob("*/*-s*")
        if _NAME.fullmatch(folder.name)
        and not folder.parent.is_symlink()
        and (folder / "result.json").is_file()
    ]
    # Runs of one second: by when they were written.
    folders.sort(key=lambda one: (one.name[:_TIME_LENGTH], _written_ns(one)), reverse=True)
    latest = out / LATEST
    if latest.is_symlink():
        # Of two runs at once the one that ended last is the latest, though it may have begun first.
        target = latest.resolve()
        folders.sort(key=lambda one: one.resolve() != target)
    return folders


def kept_runs(out: Path) -> Iterator[KeptRun]:
    """The runs in `out`, newest first; folders without a readable result are left out."""
    decode = msgspec.json.Decoder(KeptRun).decode
    for folder in run_folders(out):
        try:
            run = decode((folder / "result.json").read_bytes())
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            continue
        yield msgspec.structs.replace(run, path=str(folder), began=_began(folder), bytes_kept=size)


def find_run(name: str | None, out: Path) -> Path:
    """The folder of a run.

    Args:
        name: a path, or a name below `out` such as `latest`, `latest~1`, `duplicates` or the
            beginning of `duplicates/20250101T120000Z-s7`; None means `latest`.
        out: where folders of runs are kept.

    Raises:
        RunNameError: there is none, or there are several; the message lists them.
    """
    asked = name or LATEST
    if name and (path := Path(name)).is_dir() and (path / "result.json").is_file():
        return path
    runs = run_folders(out)
    if not runs:
        raise RunNameError(f"there is no run in {out}; make one: lab run happy-path")
    head, tilde, back = asked.partition("~")
    if head == LATEST and (not tilde or re.fullmatch(r"[0-9]{1,9}", back)):
        number = int(back or 0)
        if number >= len(runs):
            many = "is only 1 run" if len(runs) == 1 else f"are only {len(runs)} runs"
            raise RunNameError(f"there {many} in {out}, so there is no {asked}")
        return runs[number]
    found = [run for run in runs if _is_meant(run, asked)]
    same = [run for run in found if asked in (run.name, _full(run))]
    if len(same or found) == 1:
        return (same or found)[0]
    if not found:
        raise RunNameError(f"there is no run {asked!r} in {out}; see: lab list --runs")
    names = ", ".join(map(_full, found[:_LISTED_MAX]))
    more = f", and {len(found) - _LISTED_MAX} more" if len(found) > _LISTED_MAX else ""
    raise RunNameError(f"{asked!r} may be one of {len(found)} runs: {names}{more}")


def prune_runs(out: Path, keep: int) -> Sequence[Path]:
    """Remove every run in `out` but the newest `keep`; returns the folders that are gone.

    A folder that cannot be removed stays. Nothing that is no run is touched.
    """
    gone = []
    for folder in run_folders(out)[keep:]:
        # Out of sight in one step: nobody sees half a run.
        try:
            folder.rename(folder.with_name(f".{folder.name}{_REMOVED}"))
        except OSError:
            continue
        gone.append(folder)
    # Those of somebody who was interrupted here go too.
    for aside in out.glob(f"*/.*-s*{_REMOVED}"):
        shutil.rmtree(aside, ignore_errors=True)
        with contextlib.suppress(OSError):
            aside.parent.rmdir()
    return gone


def _began(folder: Path) -> str:
    try:
        began = datetime.strptime(folder.name[:_TIME_LENGTH], _UTC).astimezone(UTC)
    except ValueError:
        return ""
    return f"{began:%Y-%m-%dT%H:%M:%SZ}"


def _written_ns(folder: Path) -> int:
    try:
        return (folder / "result.json").stat().st_mtime_ns
    except OSError:
        return 0


def _full(run: Path) -> str:
    return f"{run.parent.name}/{run.name}"


def _is_meant(run: Path, asked: str) -> bool:
    return _full(run).startswith(asked) or run.name.startswith(asked)
