"""Break an event-driven order system on purpose, and read which promises held.

``from lab import run`` runs a scenario from Python; the command ``lab`` does it from a shell.
Not here: anything that runs at import. `run` is fetched when first asked for, so that
importing one small module of the lab does not build the whole house.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.wiring.run import run

__version__ = "0.1.0"
__all__ = ["__version__", "run"]


def __getattr__(name: str) -> object:
    """Fetch `run` from the composition root on first use."""
    if name == "run":
        from lab.wiring.run import run  # noqa: PLC0415 - the reason this function exists

        return run
    raise AttributeError(f"module 'lab' has no attribute {name!r}")
