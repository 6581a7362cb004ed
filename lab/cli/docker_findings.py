"""What keeps `lab up` from success, each with its own remedy: an image, a build, a port, a server.

Found from what Docker knows afterwards, not from the words of Compose, which change from version to
version and stand above on the page. Not here: Docker itself (`docker`).
"""

import json
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from lab.cli import docker
from lab.domain.errors import EnvironmentNotReady
from lab.resources import servers_command

_LOOPBACK: Final = "127.0.0.1"
_CONNECT_S: Final = 1.0
_ENDS: Final = "elk-setup"
"""The service that does its work and ends."""


class _State(NamedTuple):
    """A container as Compose tells of it.

    Attributes:
        health: "" if it has no check.
        restarts: how often it has ended and was started again.
    """

    service: str
    state: str
    health: str
    code: object
    restarts: int

    @property
    def is_fine(self) -> bool:
        """Whether it works, or has done its work."""
        if self.service == _ENDS and self.state == "exited":
            return self.code == 0
        return self.is_running and self.health in ("", "healthy")

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self.state == "running"

    @property
    def is_at_fault(self) -> bool:
        """Whether it has failed, and does not only wait for its time or for others."""
        if self.is_running:
            return self.health == "unhealthy" or (not self.is_fine and self.restarts > 0)
        return not self.is_fine and self.state != "created"

    @property
    def word(self) -> str:
        """For a person."""
        word = self.health if self.is_running else self.state
        return f"{self.service} ({word}{', it ends again and again' if self.restarts else ''})"


def missing_images(profiles: Sequence[str]) -> Mapping[str, str]:
    """A service of each image that is to be pulled and is not there: by image.

    Args:
        profiles: words for Compose, such as `--profile app`.
    """
    answer = docker.ask(*docker.compose(*profiles, "config", "--format", "json")[1:])
    read = _object(answer.stdout) if answer is not None and not answer.returncode else {}
    services = read.get("services")
    if not isinstance(services, dict):
        return {}
    built = {one.get("image") for one in services.values() if "build" in one}
    wanted = {str(one["image"]): name for name, one in services.items() if one.get("image")}
    return {
        image: service
        for image, service in wanted.items()
        if image not in built and not _is_here(image)
    }


def cannot_be_pulled(image: str) -> EnvironmentNotReady:
    """The finding about an image that `docker compose pull` has not got."""
    return EnvironmentNotReady(
        f"the image {image} cannot be pulled: Docker says above why; nothing was started",
        server="Docker Compose",
        address="",
        remedy=f'see that "docker pull {image}" works (network, proxy of the engine, limits of the '
        f"registry, disk); without Docker: {servers_command()}",
    )


def cannot_be_built() -> EnvironmentNotReady:
    """The finding about the lab's own image."""
    return EnvironmentNotReady(
        "it cannot be built: Docker says above why; nothing was started",
        server="the lab's own image",
        address="",
        remedy="it takes python from Docker Hub and the lab's dependencies from PyPI: see that "
        'containers reach both; or start the processes here: "lab providers", "lab serve", '
        '"lab relay", "lab work"',
    )


def not_everything_is_up(ports: Mapping[str, int], *, waited_s: int) -> EnvironmentNotReady:
    """What kept containers from running or from being healthy, the guilty ones only.

    Args:
        ports: of this machine, by service.
        waited_s: so long Compose has waited for health; 0 if it gave up before its time.
    """
    states = [state for state in _states() if not state.is_fine]
    taken = {
        state.service: ports[state.service]
        for state in states
        if not state.is_running and state.service in ports and _is_taken(ports[state.service])
    }
    if taken:
        return _of_taken_ports(taken)
    guilty = [state for state in states if state.is_at_fault]
    # Those that only have not come so far are innocent of an end that came early.
    slow = [state for state in states if state.is_running and waited_s]
    if found := guilty or slow:
        how = "failed" if guilty else f"not healthy after {waited_s} s"
        logs = " ".join(docker.compose("logs", *sorted(state.service for state in found)))
        again = "" if guilty else '; on a busy machine "lab up" again waits on'
        return EnvironmentNotReady(
            f"{how}: {', '.join(sorted(state.word for state in found))}",
            server="Docker Compose",
            address="",
            remedy=f'read "{logs}"{again}',
        )
    return EnvironmentNotReady(
        "not everything is up: Docker says above why",
        server="Docker Compose",
        address="",
        remedy=f'see also "{" ".join(docker.compose("ps", "--all"))}"',
    )


def _of_taken_ports(taken: Mapping[str, int]) -> EnvironmentNotReady:
    which = ", ".join(f"{port} ({service})" for service, port in sorted(taken.items()))
    variables = ", ".join(f"LAB_{service.upper()}_PORT" for service in sorted(taken))
    is_one = len(taken) == 1
    return EnvironmentNotReady(
        f"another program has the {'port' if is_one else 'ports'} {which}",
        server="Docker Compose",
        address=_LOOPBACK,
        remedy=f"stop {'it' if is_one else 'them'}, or choose {'another' if is_one else 'others'} "
        f"with {variables}",
    )


def _is_here(image: str) -> bool:
    found = docker.ask("image", "inspect", "--format", "{{.Id}}", image)
    return found is not None and not found.returncode


def _is_taken(port: int) -> bool:
    try:
        with socket.create_connection((_LOOPBACK, port), timeout=_CONNECT_S):
            return True
    except OSError:
        return False


def _states() -> Sequence[_State]:
    """Of every container of ours; () if Compose does not say."""
    profiles = [word for name in docker.PROFILES for word in ("--profile", name)]
    answer = docker.ask(*docker.compose(*profiles, "ps", "--all", "--format", "json")[1:])
    if answer is None or answer.returncode:
        return ()
    return [
        _State(
            service=str(one.get("Service", "?")),
            state=str(one.get("State", "")),
            health=str(one.get("Health", "")),
            code=one.get("ExitCode"),
            restarts=_restarts(str(one.get("ID", ""))),
        )
        for one in _objects(answer.stdout)
    ]


def _restarts(container: str) -> int:
    """How often Docker has started it again; 0 if it does not say."""
    answer = docker.ask("inspect", "--format", "{{.RestartCount}}", container)
    said = "" if answer is None or answer.returncode else answer.stdout.strip()
    return int(said) if said.isdecimal() else 0


def _objects(text: str) -> Sequence[dict[str, object]]:
    """Older Composes print one array, newer ones an object a line."""
    found: list[dict[str, object]] = []
    for line in text.splitlines():
        with suppress(ValueError):
            value = json.loads(line)
            found += [one for one in (value if isinstance(value, list) else [value]) if one]
    return found


def _object(text: str) -> dict[str, object]:
    with suppress(ValueError):
        value = json.loads(text)
        if isinstance(value, dict):
            return value
    return {}
