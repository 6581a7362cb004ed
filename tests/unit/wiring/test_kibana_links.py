"""Addresses in Kibana: which order, which time, and characters that an address cannot hold."""

from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec.structs import replace

from lab.history.entries import as_dict
from lab.report.result import Fault, Times
from lab.runtime.ids import SeededIds
from lab.wiring.kibana_links import kibana_links, order_to_show
from tests.kit.results import make_check, make_result

KIBANA: Final = "http://127.0.0.1:5601/"


def test_the_trace_of_the_witness_goes_before_that_of_a_fault() -> None:
    kept = replace(make_check("effect-once"), witness_order=5)
    broken = replace(make_check("no-lost-event"), verdict="FAIL", witness_order=8)
    result = make_result()

    assert order_to_show(result) == 3, "the first that a fault hit"
    assert order_to_show(replace(result, checks=(kept, broken))) == 8
    assert order_to_show(replace(result, checks=(kept,), faults=())) is None
    unhit = Fault(name="redis.down", fired=1, orders=())
    assert order_to_show(replace(result, faults=(unhit, *result.faults))) == 3


def test_the_trace_is_linked_with_the_time_of_the_run(tmp_path: Path) -> None:
    times = Times(virtual_ms=90_500, wall_ms=10, epoch="2025-01-01T00:00:00Z")

    links = kibana_links(replace(make_result(), time=times), tmp_path, KIBANA)

    assert (links.order, links.trace is not None) == (3, True)
    url = urlsplit(links.trace or "")
    trace_id = SeededIds(7).traceparent("3.1").split("-")[1]
    assert f"{url.scheme}://{url.netloc}{url.path}" == (
        f"http://127.0.0.1:5601/app/apm/link-to/trace/{trace_id}"
    )
    assert parse_qs(url.query) == {
        "rangeFrom": ["2024-12-31T23:59:00.000Z"],
        "rangeTo": ["2025-01-01T00:02:30.500Z"],
    }


def test_the_trace_is_that_of_the_send_which_was_stored(tmp_path: Path) -> None:
    sends = ("3.1", "3.2", "3.2", "30.1", "30.1", "30.1", "")
    entries = [as_dict(("phase", 0, "api-1", subject, "faults")) for subject in sends]
    lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
    (tmp_path / "history.ndjson").write_bytes(lines)

    links = kibana_links(make_result(), tmp_path, KIBANA)

    assert SeededIds(7).traceparent("3.2").split("-")[1] in str(links.trace)


def test_the_dashboard_shows_this_run_only(tmp_path: Path) -> None:
    folder = tmp_path / "it's !new"
    folder.mkdir()

    dashboard = kibana_links(make_result(), folder, KIBANA).dashboard

    assert dashboard.startswith("http://127.0.0.1:5601/app/dashboards#/view/orders-lab?_g=(time:")
    assert " " not in dashboard
    assert dashboard.endswith("query:'labels.run_id%3A%22duplicates%2Fit%21%27s%20%21%21new%22'))")


def test_a_run_in_which_nothing_went_wrong_has_no_trace_to_show(tmp_path: Path) -> None:
    links = kibana_links(replace(make_result(), faults=()), tmp_path, KIBANA)

    assert (links.trace, links.order) == (None, None)
    assert links.dashboard
