"""`lab providers`: the third parties behind HTTP, one process beside the real system."""

from typing import Annotated

import typer

from lab.cli import one_process, options


def providers(
    *,
    host: one_process.Host = None,
    port: one_process.Port = None,
    ledger: Annotated[
        str | None,
        typer.Option("--ledger", metavar="FILE", help="File of their ledger.  [lab-ledger.ndjson]"),
    ] = None,
    set_: options.Set = None,
    assignment: one_process.AssignmentFile = None,
) -> int:
    """Play warehouse, antifraud, payment gateway and mailer until told to stop (usual port: 8001).

    Their ledger survives them in its file. Point LAB_PROVIDERS_URL of `lab work` there.
    """
    flags = one_process.ProcessFlags(
        host=host, port=port, usual_port=8001, ledger=ledger, set_=set_
    )
    return one_process.run_one_process("providers", "providers", assignment=assignment, flags=flags)
