"""`lab down`: stops the servers, and the processes, that `lab up` has started.

Not here: Docker itself (`docker`), and servers of `scripts/servers`, which stops its own.
"""

from typing import Annotated

import typer

from lab.cli import docker
from lab.cli.exit_codes import ExitCode
from lab.cli.output import print_message


def down(
    *,
    volumes: Annotated[
        bool, typer.Option("--volumes", help="Also forget their data, for good.")
    ] = False,
) -> int:
    """Stop the servers, and the lab's own processes, that run in Docker.

    Exit code: 0 nothing runs any more, 4 no Docker, or it could not stop them.
    """
    from lab.domain.errors import EnvironmentNotReady

    docker.need_docker()
    profiles = [word for name in docker.PROFILES for word in ("--profile", name)]
    arguments = (*profiles, "down", *(("--volumes",) if volumes else ()))
    if not docker.run_compose(arguments, limit_s=docker.DOWN_S_MAX):
        raise EnvironmentNotReady(
            "not everything has stopped",
            server="Docker Compose",
            address="",
            remedy=f'see "{" ".join(docker.compose("ps", "--all"))}"',
        )
    kept = "their data is gone" if volumes else "their data is kept (--volumes forgets it)"
    print_message(f"lab: the servers are down; {kept}")
    return ExitCode.PASS
