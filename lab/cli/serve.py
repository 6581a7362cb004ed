"""`lab serve`: the API of the orders service, one process of the real system."""

from lab.cli import one_process, options


def serve(
    *,
    host: one_process.Host = None,
    port: one_process.Port = None,
    name: one_process.Name = None,
    member: one_process.Member = None,
    off: options.Off = None,
    set_: options.Set = None,
    assignment: one_process.AssignmentFile = None,
) -> int:
    """Serve POST /orders and its like until told to stop (usual port: 8000).

    SIGTERM drains, a second one aborts. The servers are those of LAB_POSTGRES_DSN, LAB_REDIS_URL
    and LAB_KAFKA_BOOTSTRAP (with LAB_KAFKA_SECURITY_PROTOCOL and its like, if it asks for TLS or a
    password), or where `lab up` starts them. Logs go to standard error as ECS, and to
    a file in the folder LAB_TELEMETRY if that is set.
    """
    flags = one_process.ProcessFlags(
        host=host, port=port, usual_port=8000, name=name, member=member, off=off, set_=set_
    )
    return one_process.run_one_process("api", "api", assignment=assignment, flags=flags)
