"""`lab ship --templates` against a server that answers as Elasticsearch or OpenSearch would."""

import asyncio
import json
from pathlib import Path
from typing import Final

import pytest

from lab.domain.errors import EnvironmentNotReady
from lab.observe.templates import (
    NEEDED,
    Template,
    TemplateState,
    load_templates,
    need_templates,
    read_templates,
)
from lab.ports.http import HttpAnswer, HttpSender, NotSent

SERVER: Final = Path(__file__).parents[3] / "elk" / "server"
ADDRESS: Final = "127.0.0.1:9200"


class Server(HttpSender):
    """Answers 200, but to what `answers` says; keeps what was put."""

    def __init__(self, **answers: int) -> None:
        self.answers = {path.replace("__", "/"): status for path, status in answers.items()}
        self.put: dict[str, bytes] = {}

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        timeout_us: int,
    ) -> HttpAnswer:
        assert headers == (("content-type", "application/json"),)
        assert timeout_us > 0
        status = self.answers.get(path.lstrip("/"), 200)
        if not status:
            raise NotSent("no connection (ConnectError)")
        if method == "PUT":
            self.put[path] = body
        return HttpAnswer(status, (), b'{"error": {"reason": "too odd"}}' if status > 299 else b"")


def load(server: Server) -> list[TemplateState]:
    return list(asyncio.run(load_templates(read_templates(SERVER), server, address=ADDRESS)))


def test_every_file_is_put_to_its_path_and_what_is_named_goes_first() -> None:
    server = Server()

    states = load(server)

    assert {one.state for one in states} == {"loaded"}
    files = {
        f"/{file.relative_to(SERVER).with_suffix('').as_posix()}": json.loads(file.read_bytes())
        for file in SERVER.rglob("*.json")
    }
    assert {path: json.loads(body) for path, body in server.put.items()} == files
    kinds = [path.split("/")[1] for path in server.put]
    assert kinds == sorted(kinds, key=["_ilm", "_component_template", "_index_template"].index)
    assert f"/{NEEDED}" in files


def test_without_lifecycle_policies_what_needs_them_is_left_out_or_empty() -> None:
    server = Server(_ilm__status=400)

    states = load(server)

    (skipped,) = [one for one in states if one.state == "skipped"]
    assert skipped.path == "_ilm/policy/orders-lab"
    assert "no lifecycle policies" in skipped.why
    assert json.loads(server.put["/_component_template/orders-lab@lifecycle"]) == {"template": {}}
    assert all(one.state == "loaded" for one in states if one is not skipped)


def test_what_is_refused_is_named_with_its_reason_and_everything_else_is_loaded() -> None:
    refused = "_index_template/traces-apm.lab"

    states = load(Server(**{refused: 400}))

    (failed,) = [one for one in states if one.state == "failed"]
    assert failed.path == refused
    assert "HTTP 400" in failed.why
    assert "too odd" in failed.why
    assert sum(one.state == "loaded" for one in states) == len(states) - 1


def test_a_user_who_may_not_load_them_is_told_at_each() -> None:
    paths = [template.path for template in read_templates(SERVER)]

    states = load(Server(_ilm__status=403, **dict.fromkeys(paths, 403)))

    assert [one.path for one in states if one.state == "failed"] == paths


def test_a_server_that_is_away_is_no_list_of_failures() -> None:
    with pytest.raises(EnvironmentNotReady, match="no connection"):
        load(Server(_ilm__status=0))


def test_a_server_without_the_templates_gets_no_documents() -> None:
    with pytest.raises(EnvironmentNotReady, match="lab ship --templates"):
        asyncio.run(need_templates(Server(**{NEEDED: 404}), address=ADDRESS))

    # One that does not let this user look may have them.
    for status in (200, 403):
        asyncio.run(need_templates(Server(**{NEEDED: status}), address=ADDRESS))


def test_files_of_other_kinds_are_no_templates(tmp_path: Path) -> None:
    (tmp_path / "_index_template").mkdir()
    (tmp_path / "_index_template" / "a.json").write_text("{}")
    (tmp_path / "_index_template" / "a.txt").write_text("{}")
    (tmp_path / "b.json").write_text("{}")

    assert read_templates(tmp_path) == [Template(path="_index_template/a", body=b"{}")]
