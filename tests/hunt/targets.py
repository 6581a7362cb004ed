"""The files whose bugs are hunted, by group.

Not here: the lab around them (bus, faults, third parties, checks), which is no system under test.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

TOP: Final = Path(__file__).resolve().parents[2]
LAB: Final = TOP / "lab"

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "services": ("services/*.py",),
    "api": ("api.py", "domain/request.py"),
    "domain": ("domain/[!r]*.py",),
    "patterns": ("patterns/*.py",),
    "loop": ("bus/loop/*.py",),
    "clients": ("providers/clients.py",),
    "stores": ("stores/*.py", "stores/memory/*.py"),
}
"""Patterns of files below `lab/`; together in the order in which they are hunted."""

REAL: Final = ("bus/kafka/*.py", "stores/postgres/*.py", "stores/redis/*.py", "runtime/http_*.py")
"""Adapters that only a real run comes by: counted, not hunted."""


def files_of(patterns: tuple[str, ...]) -> list[Path]:
    """The files that the patterns name, in order, without packages that hold nothing."""
    found = [path for pattern in patterns for path in sorted(LAB.glob(pattern))]
    return [path for path in found if path.name != "__init__.py"]


def short(path: Path) -> str:
    """A file as a mutant names it: below `lab/`."""
    return path.relative_to(LAB).as_posix()


def module_of(file: str) -> str:
    """The module of a file below `lab/`."""
    return "lab." + file.removesuffix(".py").replace("/", ".")
