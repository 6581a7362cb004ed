"""Puts the lab's templates into Elasticsearch or OpenSearch, as often as one likes.

Each that is refused is named, and the rest goes on. OpenSearch has no lifecycle policies: what
needs them is left out there, or loaded empty because templates name it. Not here: the templates
(`elk/server/`), and what Kibana loads (`elk/setup`).

Source: Elasticsearch, APIs of lifecycle policies, component templates and index templates.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from lab.domain.errors import EnvironmentNotReady
from lab.observe.ship import TIMEOUT_US, away, start_of
from lab.ports.http import HttpAnswer, HttpSender, NoAnswer, NotSent

POLICIES: Final = "_ilm/policy"
FOLDERS: Final = (POLICIES, "_component_template", "_index_template")
"""In their order: an index template names components, a component a policy."""
NEEDED: Final = "_index_template/logs-orders.lab"
"""Without it a server guesses the type of each field by the first value that comes."""

_WITHOUT_POLICIES: Final = "@lifecycle"
_EMPTY: Final = b'{"template": {}}'
_JSON: Final = (("content-type", "application/json"),)
_REFUSED_ENTRY: Final = (401, 403)
_NOT_FOUND: Final = 404


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """What is put to a path of the server."""

    path: str
    body: bytes


class TemplateState(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one template.

    Attributes:
        path: of the server.
        state: `skipped`: this server has nothing of the kind.
        why: "" if it was loaded.
    """

    path: str
    state: Literal["loaded", "skipped", "failed"]
    why: str = ""


def read_templates(folder: Path) -> Sequence[Template]:
    """The templates below a folder, in the order in which a server takes them."""
    return [
        Template(path=f"{kind}/{file.stem}", body=file.read_bytes())
        for kind in FOLDERS
        for file in sorted((folder / kind).glob("*.json"))
    ]


async def load_templates(
    templates: Sequence[Template], sender: HttpSender, *, address: str
) -> Sequence[TemplateState]:
    """Put every template, whatever becomes of single ones.

    Raises:
        EnvironmentNotReady: the server is away, or went away.
    """
    answer = await _ask(sender, "GET", "/_ilm/status", b"", address)
    # A user that may not ask is told at each template.
    has_policies = answer.status < 300 or answer.status in _REFUSED_ENTRY
    states = []
    for template in templates:
        if template.path.startswith(POLICIES) and not has_policies:
            why = "this server has no lifecycle policies, so nothing is deleted by age"
            states.append(TemplateState(path=template.path, state="skipped", why=why))
            continue
        is_left_empty = template.path.endswith(_WITHOUT_POLICIES) and not has_policies
        body = _EMPTY if is_left_empty else template.body
        states.append(_state(template, await _put(sender, template.path, body, address)))
    return states


async def need_templates(sender: HttpSender, *, address: str) -> None:
    """See to it that the server has the templates before the first document comes.

    Raises:
        EnvironmentNotReady: it has none, or it is away.
    """
    answer = await _ask(sender, "GET", f"/{NEEDED}", b"", address)
    if answer.status == _NOT_FOUND:
        raise EnvironmentNotReady(
            "it has no templates of the lab, and would guess the type of each field",
            server="Elasticsearch",
            address=address,
            remedy="load them first: lab ship --templates",
        )


def _state(template: Template, answer: HttpAnswer) -> TemplateState:
    if answer.status < 300:
        return TemplateState(path=template.path, state="loaded")
    why = f"HTTP {answer.status}: {start_of(answer.body)}"
    return TemplateState(path=template.path, state="failed", why=why)


async def _put(sender: HttpSender, path: str, body: bytes, address: str) -> HttpAnswer:
    return await _ask(sender, "PUT", f"/{path}", body, address)


async def _ask(sender: HttpSender, method: str, path: str, body: bytes, address: str) -> HttpAnswer:
    try:
        return await sender.send(method, path, headers=_JSON, body=body, timeout_us=TIMEOUT_US)
    except (NotSent, NoAnswer) as lost:
        raise away(address, str(lost)) from None
