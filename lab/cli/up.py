"""`lab up`: Kafka, PostgreSQL and Redis in Docker, and on demand what shows and runs the rest.

Not here: Docker itself (`docker`), what is found if it fails (`docker_findings`), and servers
without it (`scripts/servers`).
"""

from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Annotated, Final

import typer

from lab.cli import docker, docker_findings
from lab.cli.exit_codes import ExitCode
from lab.cli.flag_values import FlagValues, OptionError
from lab.cli.options import DEFAULT_OUT
from lab.cli.output import print_message, print_result
from lab.settings import environment

PORT_MAX: Final = 65_535
API_PORT: Final = 8_000


def up(
    *,
    app: Annotated[
        bool,
        typer.Option("--app", help="Also the lab's own processes; needs a checkout to build from."),
    ] = False,
    elk: Annotated[
        bool,
        typer.Option("--elk", help="Also Elasticsearch, Kibana and Filebeat; takes 4 GB."),
    ] = False,
) -> int:
    """Start the real servers in Docker, wait until they are healthy, print how to name them.

    Use it as: eval "$(lab up)". Other ports: LAB_POSTGRES_PORT, LAB_REDIS_PORT, LAB_KAFKA_PORT,
    LAB_API_PORT, LAB_ELASTICSEARCH_PORT, LAB_KIBANA_PORT.

    Exit code: 0 they are up, 2 wrong usage, 4 no Docker, or a server did not become healthy.
    """
    from lab.domain.errors import EnvironmentNotReady
    from lab.resources import is_checkout
    from lab.wiring.backends.elk_readiness import ELK_PORTS, elk_addresses
    from lab.wiring.backends.readiness import PORTS, addresses

    values = FlagValues()
    _check_ports(values, (*PORTS, "API_PORT", *ELK_PORTS))
    if app and not is_checkout():
        raise EnvironmentNotReady(
            "its image is built from a checkout, and this is an installed package",
            server="the lab's own image",
            address="",
            remedy='take a checkout, or start them here: "lab serve", "lab relay", "lab work"',
        )
    docker.need_docker()
    variables = _make_runs_folder(values) if elk else {}
    _start([name for name, is_wanted in (("app", app), ("elk", elk)) if is_wanted], variables)
    if app:
        port = values.whole("API_PORT", None) or API_PORT
        print_message(f"lab: orders go to http://127.0.0.1:{port}")
    # Variables that are set already may name other servers: these are the ones that were started.
    chosen = environment()
    ports = {name: value for name, value in chosen.items() if name in (*PORTS, *ELK_PORTS)}
    started = dict(addresses(ports))
    if elk:
        started |= elk_addresses(ports)
        print_message(f"lab: Filebeat reads {variables['LAB_RUNS']}")
        print_message(
            f"lab: the dashboard is {started['KIBANA_URL']}/app/dashboards#/view/orders-lab"
        )
    for name, address in started.items():
        print_result(f"export LAB_{name}={address}\n")
    return ExitCode.PASS


def _check_ports(values: FlagValues, variables: tuple[str, ...]) -> None:
    for variable in variables:
        number = values.whole(variable, None)
        if number is not None and not 1 <= number <= PORT_MAX:
            raise OptionError(f"LAB_{variable} must be from 1 to {PORT_MAX}, not {number}")


def _make_runs_folder(values: FlagValues) -> Mapping[str, str]:
    """The folder of runs as Compose is told it: Docker would make one that is not the user's."""
    found = values.text("out", None)
    folder = Path(DEFAULT_OUT if found is None else found).resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as bad:
        raise OptionError(
            f"cannot make the folder of runs {folder}: {bad.strerror}; LAB_OUT names another one"
        ) from None
    return {"LAB_RUNS": str(folder)}


def _start(profiles: list[str], variables: Mapping[str, str]) -> None:
    """Images first, so that whatever fails then is a container's.

    Raises:
        EnvironmentNotReady: names what failed, and what helps.
    """
    chosen = [word for name in profiles for word in ("--profile", name)]

    def compose(*arguments: str) -> bool:
        asked = (*chosen, *arguments)
        return docker.run_compose(asked, limit_s=docker.UP_S_MAX, variables=variables)

    # One after the other: of several at once the first that fails ends all, innocent ones too.
    for image, service in docker_findings.missing_images(chosen).items():
        if not compose("pull", service):
            raise docker_findings.cannot_be_pulled(image)
    if "app" in profiles and not compose("build"):
        raise docker_findings.cannot_be_built()
    limit_s = docker.HEALTHY_ELK_S_MAX if "elk" in profiles else docker.HEALTHY_S_MAX
    began_s = monotonic()
    if not compose("up", "--detach", "--wait", "--wait-timeout", str(limit_s)):
        is_late = monotonic() - began_s >= limit_s
        raise docker_findings.not_everything_is_up(
            _ports_of_services(), waited_s=limit_s if is_late else 0
        )


def _ports_of_services() -> Mapping[str, int]:
    """The port of this machine that each service is published at."""
    from lab.wiring.backends.elk_readiness import ELK_PORTS
    from lab.wiring.backends.readiness import PORTS

    values = FlagValues()
    usual = {**PORTS, **ELK_PORTS, "API_PORT": API_PORT}
    return {
        name.removesuffix("_PORT").lower(): values.whole(name, None) or port
        for name, port in usual.items()
    }
