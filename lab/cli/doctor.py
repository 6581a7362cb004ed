"""`lab doctor`: which parts of the lab work on this machine, and remedies for the rest.

Not here: how each thing is found out (`determinism`, `world_agreement`, `docker`,
`lab.wiring.backends.readiness`).
"""

import platform
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from lab import __version__
from lab.cli import options
from lab.cli.exit_codes import ExitCode
from lab.cli.flag_values import FlagValues
from lab.cli.output import print_result

if TYPE_CHECKING:
    from lab.wiring.backends.readiness import ServerState

Answer = Literal["ok", "missing", "wrong"]

PROGRAMS: Final = ("initdb", "redis-server", "java", "mvn")
"""Programs by which `scripts/servers` starts the servers."""
_DEBIAN_POSTGRES: Final = Path("/usr/lib/postgresql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One thing that was looked at.

    Attributes:
        name: of the thing.
        answer: `missing` is no fault by itself, because there is another way; `wrong` is one.
        found: in a few words.
        remedy: the way to mend it; "" if there is nothing to mend.
    """

    name: str
    answer: Answer
    found: str
    remedy: str = ""


def doctor(*, json: options.Json = False, no_color: options.NoColor = False) -> int:
    """Find out whether this machine is ready, and whether the simulator is deterministic on it.

    Exit code: 0 everything works, 4 something does not; the page says what helps.
    """
    values = FlagValues()
    is_json, is_plain = values.switch("json", flag=json), values.switch("no-color", flag=no_color)
    servers = tuple(_servers())
    findings = [*_machine(), *servers, *_elk(), _simulator()]
    if all(one.answer == "ok" for one in servers):
        findings.append(_agreement())
    is_ready = all(one.answer != "wrong" for one in findings)
    if is_json:
        import msgspec

        report = {"ready": is_ready, "findings": [msgspec.to_builtins(one) for one in findings]}
        print_result(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    else:
        print_result(_page(findings, is_plain=is_plain))
    return ExitCode.PASS if is_ready else ExitCode.NOT_READY


def _machine() -> Iterator[Diagnosis]:
    python = f"{platform.python_version()} ({platform.python_implementation()}), lab {__version__}"
    yield Diagnosis(name="Python", answer="ok", found=python)
    yield _docker()
    yield _programs()


def _docker() -> Diagnosis:
    from lab.cli import docker
    from lab.domain.errors import EnvironmentNotReady

    try:
        version = docker.need_docker()
    except EnvironmentNotReady as error:
        return Diagnosis(name="Docker", answer="missing", found=error.what, remedy=error.remedy)
    return Diagnosis(name="Docker", answer="ok", found=f"engine {version}")


def _programs() -> Diagnosis:
    """Whether `scripts/servers` finds everything that it starts."""
    from lab.resources import servers_command

    missing = [name for name in PROGRAMS if not _is_there(name)]
    if not missing:
        return Diagnosis(name="Programs", answer="ok", found=", ".join(PROGRAMS))
    return Diagnosis(
        name="Programs",
        answer="missing",
        found=f"no {', '.join(missing)}",
        remedy=f'"{servers_command()}" says what to install, and does so with LAB_INSTALL=1',
    )


def _is_there(program: str) -> bool:
    if shutil.which(program) is not None:
        return True
    return program == "initdb" and any(_DEBIAN_POSTGRES.glob("*/bin/initdb"))


def _servers() -> Iterable[Diagnosis]:
    from lab.settings import environment
    from lab.wiring.backends.readiness import look_at_servers

    return map(_server, look_at_servers(environment()))


def _elk() -> Iterable[Diagnosis]:
    """Servers that no run needs: looked at only if a variable names them."""
    from lab.settings import environment
    from lab.wiring.backends.elk_readiness import look_at_elk

    return map(_server, look_at_elk(environment()))


def _server(state: "ServerState") -> Diagnosis:
    found = f"{state.version or state.problem}, at {state.address}"
    answer: Answer = "wrong" if state.problem else "ok"
    return Diagnosis(name=state.name, answer=answer, found=found, remedy=state.remedy)


def _simulator() -> Diagnosis:
    from lab.cli.determinism import compare_runs

    found = compare_runs()
    left_out = f"; left out: {', '.join(found.left_out)}" if found.left_out else ""
    if found.is_same:
        digest = next(iter(found.digests.values()))
        text = f"{len(found.digests)} processes, one digest {digest[:8]}{left_out}"
        return Diagnosis(name="Simulator", answer="ok", found=text)
    each = ", ".join(f"{name}: {digest[:8] or 'failed'}" for name, digest in found.digests.items())
    return Diagnosis(
        name="Simulator",
        answer="wrong",
        found=f"one seed gave several runs: {each}{left_out}",
        remedy="a mistake of the lab or of its installation: install it again, or report this page",
    )


def _agreement() -> Diagnosis:
    """Whether the simulator and the real servers say the same."""
    from lab.cli.world_agreement import compare_worlds

    results = compare_worlds()
    if results.is_same:
        return Diagnosis(name="Agreement", answer="ok", found=f"both worlds: {results.real}")
    found = f"simulated: {results.simulated}; real: {results.real}"
    if results.differs:
        found += f"; broken in one only: {', '.join(results.differs)}"
    return Diagnosis(
        name="Agreement",
        answer="wrong",
        found=found,
        remedy="on a busy machine repeat it; then compare lab run duplicates with and "
        "without --real",
    )


def _page(findings: Sequence[Diagnosis], *, is_plain: bool) -> str:
    from lab.cli import render

    rows = [(one.name, one.answer, one.found) for one in findings]
    # A missing way matters only when a server is needed.
    is_ready = all(one.answer != "wrong" for one in findings)
    remedies = [(one.name, one.remedy) for one in findings if one.remedy and not is_ready]
    parts = [render.listing(["What", "Is", "Found"], rows)]
    if remedies:
        parts += ["", render.labelled(remedies)]
    return render.to_text(parts, width=render.width_of_output(), is_plain=is_plain)
