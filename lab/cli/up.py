"""`lab up`: Kafka, PostgreSQL and Redis in Docker, and on demand the lab's own processes.

Not here: Docker itself (`docker`), and servers without it (`scripts/servers`).
"""

from typing import Annotated, Final

import typer

from lab.cli import docker
from lab.cli.exit_codes import ExitCode
from lab.cli.flag_values import FlagValues, OptionError
from lab.cli.output import print_message, print_result

PORT_MAX: Final = 65_535
API_PORT: Final = 8_000


def up(
    *,
    app: Annotated[
        bool,
        typer.Option("--app", help="Also the lab's own processes; needs a checkout to build from."),
    ] = False,
) -> int:
    """Start the real servers in Docker, wait until they are healthy, print how to name them.

    Use it as: eval "$(lab up)". Other ports: LAB_POSTGRES_PORT, LAB_REDIS_PORT, LAB_KAFKA_PORT.

    Exit code: 0 they are up, 2 wrong usage, 4 no Docker, or a server did not become healthy.
    """
    from lab.domain.errors import EnvironmentNotReady
    from lab.resources import is_checkout
    from lab.settings import environment
    from lab.wiring.backends.readiness import PORTS, addresses

    values = FlagValues()
    for variable in (*PORTS, "API_PORT"):
        number = values.whole(variable, None)
        if number is not None and not 1 <= number <= PORT_MAX:
            raise OptionError(f"LAB_{variable} must be from 1 to {PORT_MAX}, not {number}")
    if app and not is_checkout():
        raise EnvironmentNotReady(
            "its image is built from a checkout, and this is an installed package",
            server="the lab's own image",
            address="",
            remedy='take a checkout, or start them here: "lab serve", "lab relay", "lab work"',
        )
    docker.need_docker()
    profile = ("--profile", "app") if app else ()
    wait = ("--wait", "--wait-timeout", str(docker.HEALTHY_S_MAX))
    if not docker.run_compose((*profile, "up", "--detach", *wait), limit_s=docker.UP_S_MAX):
        unready = ", ".join(docker.unready_services()) or "see above"
        raise EnvironmentNotReady(
            f"not everything is up: {unready}",
            server="Docker Compose",
            address="",
            remedy=f'read "{" ".join(docker.compose("logs"))}"; a port that is taken is changed by '
            "LAB_KAFKA_PORT, LAB_POSTGRES_PORT, LAB_REDIS_PORT or LAB_API_PORT",
        )
    if app:
        port = values.whole("API_PORT", None) or API_PORT
        print_message(f"lab: orders go to http://127.0.0.1:{port}")
    # Variables that are set already may name other servers: these are the ones that were started.
    ports = {name: value for name, value in environment().items() if name in PORTS}
    for name, address in addresses(ports).items():
        print_result(f"export LAB_{name}={address}\n")
    return ExitCode.PASS
