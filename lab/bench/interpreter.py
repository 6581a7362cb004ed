"""Which interpreter and machine measured: an absolute figure belongs to a build, not to code."""

import os
import platform
import sys
import sysconfig

import msgspec


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The interpreter and the machine of the measurements.

    Attributes:
        python: implementation, version, compiler and how it was built, in one line.
        processor: architecture.
        cores: logical cores that the machine has.
        load_before: processes that were running or wanted to, on average over the minute before;
            null where the system does not tell.
    """

    python: str
    processor: str
    cores: int
    load_before: float | None


def this_machine() -> Machine:
    """The interpreter that runs this, and its machine now."""
    return Machine(
        python=_build(),
        processor=platform.machine(),
        cores=os.cpu_count() or 1,
        load_before=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


def _build() -> str:
    options = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    parts = [
        f"{platform.python_implementation()} {platform.python_version()}",
        platform.python_compiler(),
        "PGO" if "--enable-optimizations" in options else "no PGO",
        "LTO" if "--with-lto" in options else "no LTO",
        "shared libpython" if sysconfig.get_config_var("Py_ENABLE_SHARED") else "static libpython",
    ]
    if hasattr(sys, "gettotalrefcount"):
        parts.append("debug build")
    return ", ".join(parts)
