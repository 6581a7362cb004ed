"""The folder of a run: filled aside, then shown under its name in one step, or not at all.

`<out>/<scenario>/<utc>-s<seed>/` with the run's files; `<out>/latest` points to the newest. Not
here: the contents of the files, and finding a kept run again (`kept_runs`).
"""

import contextlib
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

LATEST: Final = "latest"
_TRIES_MAX: Final = 10_000


class RunFolderError(ValueError):
    """There is no place for the files of a run; the message names it and a remedy."""


class RunFolder:
    """The folder of one run. Make it before the run: it raises if nothing can be written there.

    Two runs of one seed in the same second get folders of their own (`-2`, `-3`, ...).

    An error of the disk is not one of the run: it costs the folder, never the verdict.

    Attributes:
        path: where the files will stand after `commit`; nobody else gets that name.
        error: why there will be none, "" so far.
    """

    def __init__(self, out_dir: Path, scenario: str, seed: int, utc_now: datetime) -> None:
        """Make the place in which the files are collected.

        Raises:
            RunFolderError: `out_dir` is no folder, or cannot be written.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", scenario):
            raise RunFolderError(f"{scenario!r} cannot be the name of a folder")
        self._out = out_dir
        self._parent = out_dir / scenario
        self._is_kept = False
        self.error = ""
        name = f"{utc_now.astimezone(UTC):%Y%m%dT%H%M%SZ}-s{seed}"
        self._aside, self.path = self._reserve(name)

    def stage(self, name: str) -> Path:
        """Where the file `name` of this run is to be written before `commit`."""
        assert name == Path(name).name, name
        return self._aside / name

    def write(self, name: str, content: bytes) -> None:
        """Write a file of this run; see `error`."""
        try:
            self.stage(name).write_bytes(content)
        except OSError as bad:
            self.give_up(bad)

    def copy(self, file: Path) -> None:
        """Take a file in under its own name; see `error`."""
        try:
            shutil.copyfile(file, self.stage(file.name))
        except OSError as bad:
            self.give_up(bad)

    def give_up(self, error: OSError) -> None:
        """Keep nothing of this run: the disk is full, or somebody removed the folder meanwhile."""
        self.error = self.error or (
            f"the run could not be kept in {self._parent}: {error.strerror}; choose another --out"
        )

    def commit(self) -> str:
        """Show the folder under its name, whole, and point `latest` to it. Returns `error`."""
        if not self.error:
            try:
                self._aside.rename(self.path)
            except OSError as bad:
                self.give_up(bad)
        if self.error:
            self.discard()
            return self.error
        self._is_kept = True
        self._point_latest()
        return ""

    def discard(self) -> None:
        """Leave nothing of this run. Idempotent; does nothing after `commit`."""
        if not self._is_kept:
            shutil.rmtree(self._aside, ignore_errors=True)
            # Folders that were made for this run alone go too; rmdir refuses any other.
            for folder in (self._parent, self._out):
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def _reserve(self, name: str) -> tuple[Path, Path]:
        """The place aside, and the name that it reserves."""
        try:
            self._parent.mkdir(parents=True, exist_ok=True)
            for number in range(1, _TRIES_MAX):
                path = self._parent / (name if number == 1 else f"{name}-{number}")
                aside = self._parent / f".{path.name}"
                if path.exists():
                    continue
                try:
                    aside.mkdir()
                except FileExistsError:
                    continue
                # A rival may have moved its own place aside to this name in between.
                if not path.exists():
                    return aside, path
                aside.rmdir()
        except OSError as bad:
            raise RunFolderError(
                f"cannot write runs to {self._out}: {bad.strerror} ({bad.filename}); "
                "choose a folder of yours with --out DIR"
            ) from None
        raise RunFolderError(f"{self._parent} is full of runs of {name}; empty it")

    def _point_latest(self) -> None:
        """Replace the link in one step. A file that is no link of ours is left alone."""
        latest = self._out / LATEST
        if latest.exists() and not latest.is_symlink():
            return
        link = self._out / f".{LATEST}.{os.getpid()}"
        # A file system without links has no `latest`; the run itself is kept.
        with contextlib.suppress(OSError):
            link.unlink(missing_ok=True)
            link.symlink_to(self.path.relative_to(self._out), target_is_directory=True)
            link.replace(latest)
