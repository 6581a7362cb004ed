"""`lab relay`: publishes the outbox, one process of the real system."""

from lab.cli import one_process, options


def relay(
    *,
    host: one_process.Host = None,
    health_port: one_process.HealthPort = None,
    name: one_process.Name = None,
    member: one_process.Member = None,
    off: options.Off = None,
    set_: options.Set = None,
    assignment: one_process.AssignmentFile = None,
) -> int:
    """Publish the outbox until told to stop; a second one stands by.

    SIGTERM ends the batches in hand, a second one aborts. Servers and logs as of `lab serve`.
    """
    flags = one_process.ProcessFlags(
        host=host,
        port=health_port,
        port_name="health-port",
        name=name,
        member=member,
        off=off,
        set_=set_,
    )
    return one_process.run_one_process("relay", "relay", assignment=assignment, flags=flags)
