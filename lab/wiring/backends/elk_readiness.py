"""Whether Elasticsearch and Kibana are there, if a variable names them: no run needs them.

Nothing is made on them. Not here: the servers that a run needs (`readiness`), and starting these
(`lab up --elk`).
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from lab.domain.errors import EnvironmentNotReady
from lab.ports.http import HttpAnswer
from lab.resources import servers_command
from lab.runtime.http_caller import http_caller
from lab.wiring.backends.readiness import PATIENCE_US, ServerState

ELK_PORTS: Final[Mapping[str, int]] = {"ELASTICSEARCH_PORT": 9200, "KIBANA_PORT": 5601}
"""Where `docker-compose.yml` puts them, by the variables (without `LAB_`) that move them."""

_OK: Final = 200
_STAND_IN: Final = "OpenSearch"


def elk_addresses(variables: Mapping[str, str]) -> Mapping[str, str]:
    """The addresses at which `lab up --elk` starts them, by their variables, without `LAB_`."""
    port = {name: variables.get(name, str(usual)).strip() for name, usual in ELK_PORTS.items()}
    return {
        "ELASTICSEARCH_URL": f"http://127.0.0.1:{port['ELASTICSEARCH_PORT']}",
        "KIBANA_URL": f"http://127.0.0.1:{port['KIBANA_PORT']}",
    }


def look_at_elk(variables: Mapping[str, str]) -> Sequence[ServerState]:
    """Ask those that `variables` name for their versions; takes a few seconds at most.

    Args:
        variables: `lab.settings.environment()`.
    """
    return asyncio.run(_look(variables))


async def _look(variables: Mapping[str, str]) -> Sequence[ServerState]:
    asked = [
        _state(name, variable, variables[variable].strip())
        for name, variable in (("Elasticsearch", "ELASTICSEARCH_URL"), ("Kibana", "KIBANA_URL"))
        if variable in variables
    ]
    return await asyncio.gather(*asked)


async def _state(name: str, variable: str, url: str) -> ServerState:
    version = problem = ""
    path, read = ("/", _elasticsearch) if name == "Elasticsearch" else ("/api/status", _kibana)
    other = f' or "{servers_command("up search")}"' if name == "Elasticsearch" else ""
    remedy = f'start one with "lab up --elk"{other}, or set LAB_{variable}'
    try:
        async with http_caller(url, connections_max=1) as caller:
            answer = await caller.request("GET", path, headers=(), body=b"", timeout_us=PATIENCE_US)
    except EnvironmentNotReady as error:
        problem, remedy = error.what, f"LAB_{variable} must be http://HOST:PORT"
    else:
        version, problem = ("", "it does not answer") if answer is None else read(answer)
    return ServerState(
        name=name,
        address=_shown(url),
        version=version,
        problem=problem,
        remedy=remedy if problem else "",
    )


def _elasticsearch(answer: HttpAnswer) -> tuple[str, str]:
    """Version and problem, one of them ""."""
    told = _object(answer.body)
    version = told.get("version")
    if answer.status != _OK or not isinstance(version, dict):
        return "", _refusal(answer.status)
    number = str(version.get("number", "?"))
    return (f"{number}, {_STAND_IN}" if _STAND_IN in str(told.get("tagline")) else number), ""


def _kibana(answer: HttpAnswer) -> tuple[str, str]:
    """Version and problem, one of them ""."""
    told = _object(answer.body)
    version, status = told.get("version"), told.get("status")
    overall = status.get("overall") if isinstance(status, dict) else None
    level = str(overall.get("level", "")) if isinstance(overall, dict) else ""
    if level and level != "available":
        return "", f"it is {level}"
    if answer.status != _OK or not level:
        return "", _refusal(answer.status)
    return (str(version.get("number", "?")) if isinstance(version, dict) else "?"), ""


def _refusal(status: int) -> str:
    if status in (401, 403):
        return "it wants a user and a password"
    if status == 503:
        return "it is not ready yet"
    return f"another program answers there (HTTP {status})" if status else "it does not answer"


def _object(body: bytes) -> Mapping[str, object]:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _shown(url: str) -> str:
    """The address without user and password; "?" if it cannot be shown safely."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "?"
    host = parts.hostname or ""
    is_plain = host and "@" not in host and "@" not in parts.path and "/" not in host
    return f"{parts.scheme}://{host}{port}" if is_plain else "?"
