"""A client of the search server for tests: plain requests, and what is stored.

Not here: starting it (`scripts/servers`), and what loads its templates (`elk/setup`).
"""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import httpx

SETUP: Final = Path(__file__).parents[2] / "elk" / "setup"


class SearchServer:
    """The server at an address."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The answer to one request; an answer that is an error ends the test."""
        answer = self._http.request(method, path, json=body)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def store(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Create a document of each record where it belongs, and make them visible."""
        lines: list[object] = []
        for record in records:
            lines += [{"create": {"_index": stream_of(record)}}, record]
        sent = "".join(f"{json.dumps(line)}\n" for line in lines)
        headers = {"Content-Type": "application/x-ndjson"}
        answer = self._http.post("/_bulk?refresh=true", content=sent, headers=headers).json()
        refused = [one for one in answer["items"] if one["create"]["status"] >= 300]
        assert not refused, refused[:3]

    def count(self, index: str, query: object = None) -> int:
        """How many documents an index has; 0 if there is none."""
        self._http.post(f"/{index}/_refresh")
        body = {"query": query} if query else None
        answer = self._http.request("GET", f"/{index}/_count", json=body)
        return int(answer.json()["count"]) if answer.status_code == 200 else 0

    def documents(self, index: str, query: object = None) -> dict[str, Any]:
        """All documents by their ids, however many; an id that comes twice ends the test."""
        self._http.post(f"/{index}/_refresh")
        found: dict[str, Any] = {}
        body = {"query": query or {"match_all": {}}, "size": 5_000}
        answer = self.ask("POST", f"/{index}/_search?scroll=1m&ignore_unavailable=true", body)
        while hits := answer["hits"]["hits"]:
            for hit in hits:
                assert hit["_id"] not in found, hit["_id"]
                found[hit["_id"]] = hit["_source"]
            body = {"scroll": "1m", "scroll_id": answer["_scroll_id"]}
            answer = self.ask("POST", "/_search/scroll", body)
        if "_scroll_id" in answer:  # No document has made the index yet.
            self._http.request(
                "DELETE", "/_search/scroll", json={"scroll_id": answer["_scroll_id"]}
            )
        return found

    def forget(self, *streams: str) -> None:
        """Delete data streams, wildcards too."""
        for stream in streams:
            self._http.delete(f"/_data_stream/{stream}")


def stream_of(record: Mapping[str, Any]) -> str:
    """The data stream that a record belongs to."""
    stream = record["data_stream"]
    return f"{stream['type']}-{stream['dataset']}-{stream['namespace']}"


def run_setup(
    url: str, kibana: str = "", *, setup: Path = SETUP
) -> "subprocess.CompletedProcess[str]":
    """`elk/setup` for these addresses."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("LAB_")}  # noqa: TID251 - handed on
    return subprocess.run(
        ["bash", setup],
        env={**ours, "LAB_ELASTICSEARCH_URL": url, "LAB_KIBANA_URL": kibana, "no_proxy": "*"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
