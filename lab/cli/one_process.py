"""What `lab serve`, `relay`, `work` and `providers` have in common: one process, told what to be.

By hand it is told by options and `LAB_*` variables; by `lab run --real` by a file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from lab.cli.exit_codes import ExitCode
from lab.cli.flag_values import Flags, Given, OptionError

if TYPE_CHECKING:
    from lab.wiring.worlds.assignment import Assignment

PORT_MAX: Final = 65_535
DEFAULT_NAME: Final = "lab"

Name = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        help="Name of the topics, schema and keys; all processes of one system share it.  [lab]",
    ),
]
Member = Annotated[
    str | None,
    typer.Option(
        "--member", metavar="NAME", help="Its own name among its like.  [from host and process id]"
    ),
]
HealthPort = Annotated[
    str | None,
    typer.Option(
        "--health-port",
        metavar="N",
        help="Answer /health, /ready and /metrics there; 0: any free port.",
    ),
]
Host = Annotated[
    str | None, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.  [127.0.0.1]")
]
Port = Annotated[
    str | None, typer.Option("--port", metavar="N", help="Port to listen on; 0: any free one.")
]
AssignmentFile = Annotated[
    Path | None,
    typer.Option("--assignment", hidden=True, help="What to be; written by lab run --real."),
]


def be(
    role: 'Literal["api", "relay", "consumer", "providers"]',
    group: str,
    *,
    assignment: Path | None,
    flags: Flags,
    port: str = "port",
    usual_port: int | None = None,
) -> int:
    """Be that process until it is told to end; the exit code.

    Args:
        role: what it is for.
        group: its consumer group, or its role's name.
        assignment: a file that says all there is to say; the rest is left alone then.
        flags: options by their long names.
        port: the name of the option of its port.
        usual_port: where it listens if nobody says; None: nowhere.
    """
    from lab.wiring.worlds.assignment import read_assignment
    from lab.wiring.worlds.real_process import run_process

    if assignment is not None:
        run_process(read_assignment(assignment))
    else:
        run_process(_assigned(role, group, flags, port=port, usual_port=usual_port))
    return ExitCode.PASS


def _assigned(
    role: 'Literal["api", "relay", "consumer", "providers"]',
    group: str,
    flags: Flags,
    *,
    port: str,
    usual_port: int | None,
) -> "Assignment":
    import os
    import platform

    from lab.settings import environment
    from lab.wiring.backends.readiness import addresses
    from lab.wiring.worlds.assignment import Assignment

    given = Given(flags)
    at = addresses(environment())
    chosen = given.whole(port)
    if chosen is not None and chosen > PORT_MAX:
        raise OptionError(f"--{port} must be from 0 to {PORT_MAX}, not {chosen}")
    made_up = f"{group}-{platform.node().partition('.')[0]}-{os.getpid()}"
    return Assignment(
        role=role,
        member=_word(given, "member", made_up),
        group=group,
        name=_word(given, "name", DEFAULT_NAME),
        postgres_dsn=at["POSTGRES_DSN"],
        redis_url=at["REDIS_URL"],
        kafka_bootstrap=at["KAFKA_BOOTSTRAP"],
        providers_url=_text(given, "providers-url", "http://127.0.0.1:8001"),
        off=_off(given.many("off", separator=",")),
        settings=given.changes(),
        host=_text(given, "host", "127.0.0.1"),
        port=usual_port if chosen is None else chosen,
        ledger=_text(given, "ledger", "lab-ledger.ndjson") if role == "providers" else "",
    )


def _text(given: Given, name: str, usual: str) -> str:
    found = given.text(name)
    return usual if found is None else found[1]


def _word(given: Given, name: str, usual: str) -> str:
    """A name that may stand in those of topics, schemas and keys."""
    import re

    found = given.text(name)
    if found is None:
        return re.sub(r"[^A-Za-z0-9_-]", "-", usual)
    place, text = found
    pattern = r"[a-z][a-z0-9_]{0,39}" if name == "name" else r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
    if not re.fullmatch(pattern, text):
        raise OptionError(
            f"{place} must be small letters, digits and _, and begin with a letter, not {text!r}"
            if name == "name"
            else f"{place} must be letters, digits, - and _, not {text!r}"
        )
    return text


def _off(names: Sequence[str]) -> tuple[str, ...]:
    from lab import patterns
    from lab.scenarios.loader import nearest

    for name in names:
        if name not in patterns.NAMES:
            raise OptionError(
                f"unknown pattern {name!r}{nearest(name, patterns.NAMES)} "
                "(see: lab list --patterns)"
            )
    return tuple(names)
