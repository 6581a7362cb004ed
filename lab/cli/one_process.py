"""The common part of `lab serve`, `relay`, `work` and `providers`: one process of the system.

A person describes it by flags and `LAB_*` variables, `lab run --real` by a file.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple

import typer

from lab.cli.exit_codes import ExitCode
from lab.cli.flag_values import FlagValues, OptionError

if TYPE_CHECKING:
    from lab.wiring.worlds.assignment import Assignment

ProcessRole = Literal["api", "relay", "consumer", "providers"]

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
    typer.Option(
        "--assignment", hidden=True, help="A description of the process; written by lab run --real."
    ),
]


class ProcessFlags(NamedTuple):
    """The flags of such a command, as the shell gave them; a command lacks some of them.

    Attributes:
        port_name: name of the flag of the port, without `--`.
        usual_port: where it listens if no port is given; None: nowhere.
    """

    host: str | None
    port: str | None
    port_name: Literal["port", "health-port"] = "port"
    usual_port: int | None = None
    name: str | None = None
    member: str | None = None
    ledger: str | None = None
    off: Sequence[str] | None = None
    set_: Sequence[str] | None = None


def run_one_process(
    role: ProcessRole, group: str, *, assignment: Path | None, flags: ProcessFlags
) -> int:
    """Be that process until it is told to end; the exit code.

    Args:
        role: of the process.
        group: its consumer group, or its role's name.
        assignment: a file that describes it whole; the flags are left alone then.
        flags: its description by hand.
    """
    from lab.wiring.worlds.assignment import read_assignment
    from lab.wiring.worlds.real_process import ProcessEnded, run_process

    described = assigned(role, group, flags) if assignment is None else read_assignment(assignment)
    try:
        run_process(described)
    except ProcessEnded as ended:
        return ended.exit_code
    return ExitCode.PASS


def assigned(role: ProcessRole, group: str, flags: ProcessFlags) -> "Assignment":
    """A process of the system that flags and variables describe.

    Raises:
        OptionError: a flag or a variable is wrong.
    """
    from lab.settings import environment
    from lab.wiring.backends.readiness import addresses
    from lab.wiring.worlds.assignment import Assignment

    values = FlagValues()
    variables = environment()
    at = addresses(variables)
    port = values.whole(flags.port_name, flags.port)
    if port is not None and port > PORT_MAX:
        raise OptionError(f"--{flags.port_name} must be from 0 to {PORT_MAX}, not {port}")
    return Assignment(
        role=role,
        member=_member(values, flags, group),
        group=group,
        name=_name(values, flags.name),
        postgres_dsn=at["POSTGRES_DSN"],
        redis_url=at["REDIS_URL"],
        kafka_bootstrap=at["KAFKA_BOOTSTRAP"],
        providers_url=values.text_or("providers-url", None, "http://127.0.0.1:8001"),
        off=_off(values.many("off", flags.off, separator=",")),
        settings=values.policies(flags.set_),
        host=values.text_or("host", flags.host, "127.0.0.1"),
        port=flags.usual_port if port is None else port,
        telemetry=variables.get("TELEMETRY", "").strip(),
        ledger=""
        if role != "providers"
        else values.text_or("ledger", flags.ledger, "lab-ledger.ndjson"),
    )


def system(name: str | None, set_: Sequence[str] | None) -> "Assignment":
    """A system, for a command that is none of its processes.

    Raises:
        OptionError: a flag or a variable is wrong.
    """
    from lab.settings import environment
    from lab.wiring.backends.readiness import addresses
    from lab.wiring.worlds.assignment import Assignment

    values, at = FlagValues(), addresses(environment())
    return Assignment(
        role="relay",
        member="operator",
        group="relay",
        name=_name(values, name),
        postgres_dsn=at["POSTGRES_DSN"],
        redis_url=at["REDIS_URL"],
        kafka_bootstrap=at["KAFKA_BOOTSTRAP"],
        settings=values.policies(set_),
    )


def _member(values: FlagValues, flags: ProcessFlags, group: str) -> str:
    """Its name among its like; it stands in names of topics and keys."""
    import os
    import platform

    pattern, rule = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", "letters, digits, - and _"
    given = values.matching("member", flags.member, pattern, rule)
    made_up = f"{group}-{platform.node().partition('.')[0]}-{os.getpid()}"
    return re.sub(r"[^A-Za-z0-9_-]", "-", made_up) if given is None else given


def _name(values: FlagValues, flag: str | None) -> str:
    """The name of the system; it stands in names of topics, schema and keys."""
    rule = "small letters, digits and _, and begin with a letter"
    return values.matching("name", flag, r"[a-z][a-z0-9_]{0,39}", rule) or DEFAULT_NAME


def _off(names: Sequence[str]) -> tuple[str, ...]:
    from lab import patterns
    from lab.did_you_mean import did_you_mean

    for name in names:
        if name not in patterns.NAMES:
            hint = did_you_mean(name, patterns.NAMES)
            raise OptionError(f"unknown pattern {name!r}{hint} (see: lab list --patterns)")
    return tuple(names)
