"""`lab providers`: the third parties behind HTTP, one process beside the real system."""

from typing import Annotated

import typer

from lab.cli import one_process, options
from lab.cli.flag_values import Flags


def providers(
    *,
    host: one_process.Host = None,
    port: one_process.Port = None,
    ledger: Annotated[
        str | None,
        typer.Option(
            "--ledger", metavar="FILE", help="Where they keep what they did.  [lab-ledger.ndjson]"
        ),
    ] = None,
    set_: options.Set = None,
    assignment: one_process.AssignmentFile = None,
) -> int:
    """Play warehouse, antifraud, payment gateway and mailer until told to stop (usual port: 8001).

    What they did survives them in the ledger's file. Point LAB_PROVIDERS_URL of `lab work` there.
    """
    flags: Flags = {"host": host, "port": port, "ledger": ledger, "set": set_}
    return one_process.be(
        "providers", "providers", assignment=assignment, flags=flags, usual_port=8001
    )
