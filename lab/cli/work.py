"""`lab work SERVICE`: one member of a consumer group, one process of the real system."""

from typing import Annotated

import typer

from lab.cli import one_process, options
from lab.cli.flag_values import OptionError


def work(
    service: Annotated[
        str | None,
        typer.Argument(
            metavar="SERVICE",
            help="validation, payment, orders or notification.",
            show_default=False,
        ),
    ] = None,
    *,
    host: one_process.Host = None,
    health_port: one_process.HealthPort = None,
    name: one_process.Name = None,
    member: one_process.Member = None,
    off: options.Off = None,
    set_: options.Set = None,
    assignment: one_process.AssignmentFile = None,
) -> int:
    """Handle the events of a service until told to stop; several share its partitions.

    SIGTERM drains within drain.grace_ms, a second one aborts. The third parties are those of
    LAB_PROVIDERS_URL (see `lab providers`); servers and logs as of `lab serve`.
    """
    from lab.domain.events import READS

    if service is None or service not in READS:
        known = ", ".join(READS)
        mistake = "name a service" if service is None else f"there is no service {service!r}"
        raise OptionError(f"{mistake}; there are {known}")
    flags = one_process.ProcessFlags(
        host=host,
        port=health_port,
        port_name="health-port",
        name=name,
        member=member,
        off=off,
        set_=set_,
    )
    return one_process.run_one_process("consumer", service, assignment=assignment, flags=flags)
