"""Docker for `lab up` and `lab down`: whether it is there, and its Compose with our file.

The output of Compose goes to standard error, as it comes. Not here: the file itself
(`docker-compose.yml`), what keeps `lab up` from success (`docker_findings`), and the servers as a
run sees them (`lab.wiring.backends.readiness`).
"""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

from lab.domain.errors import EnvironmentNotReady
from lab.resources import resource_path, servers_command
from lab.settings import environment_of_a_program

COMPOSE_MIN: Final = (2, 20)
ANSWER_S_MAX: Final = 30
UP_S_MAX: Final = 1_800
"""Fetching images takes its time; and there must be an end to it."""
HEALTHY_S_MAX: Final = 180
HEALTHY_ELK_S_MAX: Final = 600
"""Elasticsearch and Kibana take a minute or two, on a busy machine several."""
DOWN_S_MAX: Final = 300
PROFILES: Final = ("app", "elk")
"""What is started on demand; whatever was started stops too."""
_STDERR: Final = 2


def need_docker() -> str:
    """See that Docker, its Compose and its engine are there; returns the engine's version.

    Raises:
        EnvironmentNotReady: one of them is missing, too old or does not answer.
    """
    if shutil.which("docker") is None:
        raise _not_ready("there is no command docker", "install Docker with its Compose plugin")
    compose = ask("compose", "version", "--short")
    if compose is None or compose.returncode:
        raise _not_ready(
            "it has no Compose plugin", "install it (Debian, Ubuntu: docker-compose-plugin)"
        )
    number = re.search(r"(\d+)\.(\d+)", compose.stdout)
    if number is None or (int(number[1]), int(number[2])) < COMPOSE_MIN:
        wanted = ".".join(map(str, COMPOSE_MIN))
        raise _not_ready(
            f"its Compose is {compose.stdout.strip() or 'of no known version'}",
            f"{wanted} or later is needed",
        )
    engine = ask("version", "--format", "{{.Server.Version}}")
    if engine is None:
        raise _not_ready(f"its engine gave no answer for {ANSWER_S_MAX} s", "start it again")
    if engine.returncode:
        said = (engine.stderr.strip().splitlines() or ["no reason given"])[-1].rstrip(". ")
        raise _not_ready(f"its engine cannot be used ({said})", _remedy_of_an_engine(said))
    return engine.stdout.strip()


def _remedy_of_an_engine(said: str) -> str:
    if "permission denied" in said.lower():
        return "it lets its group in: sudo usermod -aG docker $USER, and log in again"
    return "start it (sudo systemctl start docker, or Docker Desktop)"


def compose(*arguments: str) -> list[str]:
    """The command line of Compose with our file, every profile included."""
    file = str(resource_path("docker-compose.yml"))
    return ["docker", "compose", "--file", file, *arguments]


def run_compose(
    arguments: Sequence[str], *, limit_s: int, variables: Mapping[str, str] | None = None
) -> bool:
    """Run Compose with our file; whether it succeeded.

    Args:
        arguments: what follows the file.
        limit_s: it is killed after this.
        variables: what the file is told, by their whole names, on top of the environment.

    Raises:
        EnvironmentNotReady: it has not ended after `limit_s`, and was killed.
    """
    command = compose(*arguments)
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program with our own arguments
            command,
            stdout=_STDERR,
            env=environment_of_a_program(variables or {}),
            check=False,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        raise _not_ready(
            f"Compose has not ended after {limit_s} s", f"see what it does: {' '.join(command)}"
        ) from None
    return done.returncode == 0


def ask(*arguments: str) -> "subprocess.CompletedProcess[str] | None":
    """A question to docker; None if it does not answer in time.

    Raises:
        EnvironmentNotReady: docker cannot be run.
    """
    try:
        return subprocess.run(  # noqa: S603 - a fixed program with our own arguments
            ["docker", *arguments],  # noqa: S607 - found on the PATH, as a shell would
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=ANSWER_S_MAX,
        )
    except subprocess.TimeoutExpired:
        return None
    except OSError as bad:
        raise _not_ready(f"it cannot be run ({bad.strerror})", "install it again") from None


def _not_ready(what: str, remedy: str) -> EnvironmentNotReady:
    other = f'{servers_command()}; eval "$({servers_command("env")})"'
    remedy = f"{remedy}; without Docker: {other}"
    return EnvironmentNotReady(what, server="Docker", address="", remedy=remedy)
