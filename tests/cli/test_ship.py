"""`lab ship`, and `--ship` of a run: as a user would call them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from lab.cli import app
from tests.kit.http_stand_in import StandIn
from tests.kit.otlp_backend import PATH, spans_of

NOWHERE: Final = "http://127.0.0.1:9"
SMALL: Final = ("run", "duplicates", "--orders", "20", "--quiet")

Told = tuple[int, str, str]
Call = Callable[..., Told]


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Runs one command in an empty folder; gives exit code, output and messages."""
    monkeypatch.chdir(tmp_path)
    for name in ("LAB_ELASTICSEARCH_URL", "LAB_KIBANA_URL", "LAB_OTLP_URL"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Told:
        code = app.run_command(arguments)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def kept(call: Call) -> Path:
    """The folder of a run."""
    assert call(*SMALL)[0] == 0
    return Path("runs/latest").resolve()


@pytest.fixture
def server() -> Iterator[StandIn]:
    """A server that takes everything, and knows no bulk requests."""
    with StandIn() as server:
        yield server


# ---- into a folder


def test_a_folder_gets_one_line_for_each_span_and_each_log_record(call: Call, kept: Path) -> None:
    code, out, err = call("ship", "--to", "there")

    assert (code, err) == (0, "")
    lines = {
        name: Path("there", name).read_bytes().splitlines()
        for name in ("spans.ndjson", "logs.ndjson")
    }
    assert out.splitlines() == [
        f"duplicates/{kept.name}: {len(found):,} lines in there/{name}"
        for name, found in lines.items()
    ]
    for name, found in lines.items():
        records = [json.loads(line) for line in found]
        assert {one["labels"]["run_id"] for one in records} == {f"duplicates/{kept.name}"}
        assert {one["data_stream"]["type"] for one in records} <= (
            {"traces", "logs"} if name == "spans.ndjson" else {"logs"}
        )
        ids = [one["event"]["id"] for one in records]
        assert len(set(ids)) == len(ids) > 20


def test_the_same_run_gives_the_same_files_and_another_one_no_id_of_it(
    call: Call, kept: Path
) -> None:
    def ids(folder: str) -> set[str]:
        text = "".join(
            Path(folder, one).read_text("utf-8") for one in ("spans.ndjson", "logs.ndjson")
        )
        return {json.loads(line)["event"]["id"] for line in text.splitlines()}

    call("ship", str(kept), "--to", "first")
    call("ship", str(kept), "--to", "again")
    other = kept.rename(kept.with_name("20310101T000000Z-s1"))
    call("ship", str(other), "--to", "other")

    assert Path("first/spans.ndjson").read_bytes() == Path("again/spans.ndjson").read_bytes()
    assert ids("first") == ids("again")
    assert not ids("first") & ids("other"), "a run of the same seed is another run"


def test_json_says_the_same_in_one_object(call: Call, kept: Path) -> None:
    code, out, err = call("ship", "--to", "there", "--json")

    report = json.loads(out)
    assert (code, err) == (0, "")
    assert report["run"] == f"duplicates/{kept.name}"
    assert report["to"] == "there"
    assert report["sent"] == sum(report["files"].values()) > 0
    assert report["is_whole"] is True
    assert report["stored"] is report["documents"] is report["links"] is None


def test_a_folder_that_cannot_be_written_is_one_line_and_exit_code_2(
    call: Call, kept: Path
) -> None:
    Path("file").write_text("mine")

    code, out, err = call("ship", str(kept), "--to", "file")

    assert (code, out) == (2, "")
    assert "cannot write to file: " in err
    assert Path("file").read_text() == "mine"


# ---- which run


def test_without_a_run_it_says_how_to_make_one(call: Call) -> None:
    assert call("ship") == (
        2,
        "",
        "lab: there is no run in runs; make one: lab run happy-path\n",
    )


def test_a_folder_that_is_no_run_is_refused(call: Call, kept: Path) -> None:
    (kept / "result.json").write_text("{}")

    code, out, err = call("ship", str(kept))

    assert (code, out) == (2, "")
    assert "is no result of this version of the lab" in err
    (kept / "result.json").unlink()
    assert "there is no run" in call("ship", str(kept))[2]


def test_older_runs_have_names_and_ambiguous_names_list_what_they_could_mean(
    call: Call, kept: Path
) -> None:
    other = kept.with_name("20210101T000000Z-s1")
    kept.rename(other)
    call(*SMALL)
    newest, oldest = sorted(path.name for path in Path("runs/duplicates").iterdir())[::-1]

    assert f"duplicates/{oldest}: " in call("ship", "latest~1", "--to", "there")[1]
    assert f"duplicates/{newest}: " in call("ship", newest, "--to", "there")[1]
    code, out, err = call("ship", "duplicates", "--to", "there")
    assert (code, out) == (2, "")
    assert "'duplicates' may be one of 2 runs: " in err
    assert f"duplicates/{newest}, duplicates/{oldest}" in err
    assert "there are only 2 runs in runs, so there is no latest~2" in call("ship", "latest~2")[2]


# ---- what is wrong with it


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda lines: lines[:-1], "the history has"),
        (lambda lines: [*lines[:-1], lines[-1][:-9]], "the file breaks off here"),
        (
            lambda lines: [lines[0].replace(b"faults", b"faulty"), *lines[1:]],
            "not the one that was judged",
        ),
        (lambda lines: [b"{}\n", *lines[1:]], "line 1: no entry of this version"),
    ],
)
def test_a_truncated_or_changed_history_is_refused_before_anything_is_sent(
    spoil: Callable[[list[bytes]], list[bytes]], message: str, call: Call, kept: Path
) -> None:
    history = kept / "history.ndjson"
    history.write_bytes(b"".join(spoil(history.read_bytes().splitlines(keepends=True))))

    code, out, err = call("ship", "--to", "there")

    assert (code, out) == (2, "")
    assert message in err
    assert not Path("there").exists()


def test_a_run_without_a_digest_is_counted_only(call: Call, kept: Path) -> None:
    path, history = kept / "result.json", kept / "history.ndjson"
    result = json.loads(path.read_text("utf-8"))
    # On the wall clock no run is like another, so none has a digest.
    path.write_text(json.dumps({**result, "digest": "", "mode": "real"}))

    assert call("ship", "--to", "there")[0] == 0

    lines = history.read_bytes().splitlines(keepends=True)
    history.write_bytes(b"".join(lines[:-1]))
    code, _, err = call("ship", "--to", "there")
    assert code == 2
    assert f"the history has {len(lines) - 1:,} of {len(lines):,} entries" in err


@pytest.mark.slow
def test_a_run_whose_history_is_thinned_says_that_some_orders_are_missing(call: Call) -> None:
    call("run", "duplicates", "--orders", "2001", "--rate", "500", "--quiet")

    code, out, err = call("ship", "--to", "there")

    assert (code, err) == (0, "")
    assert "holds some of its orders only: more than 2,000 were posted" in out
    assert "--history all" in out
    assert json.loads(call("ship", "--to", "there", "--json")[1])["is_whole"] is False


# ---- a server


def test_a_server_that_is_away_is_one_line_and_exit_code_4(
    call: Call, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_ELASTICSEARCH_URL", "http://me:secret@127.0.0.1:9")

    for arguments in (("ship", str(kept)), ("ship", "--templates")):
        code, out, err = call(*arguments)
        assert (code, out) == (4, "")
        assert len(err.splitlines()) == 1
        assert err.startswith("lab: Elasticsearch at 127.0.0.1:9: no connection")
        assert "secret" not in err


def test_templates_need_no_run_and_each_failure_is_named(call: Call, server: StandIn) -> None:
    server.answers[("PUT", "/_index_template/traces-apm.lab")] = (400, {"error": "too odd"})

    code, out, err = call("ship", "--templates", "--endpoint", server.url)

    assert (code, err) == (1, "")
    (failed,) = [line for line in out.splitlines() if line.startswith("failed")]
    assert failed.startswith("failed  _index_template/traces-apm.lab (HTTP 400: ")
    assert "too odd" in failed
    assert "loaded  _ilm/policy/orders-lab" in out.splitlines()
    report = json.loads(call("ship", "--templates", "--endpoint", server.url, "--json")[1])
    states = {one["path"]: one["state"] for one in report["templates"]}
    assert states["_index_template/traces-apm.lab"] == "failed"
    assert report["to"] == server.url.removeprefix("http://")


def test_templates_are_loaded_before_a_run_that_is_named(
    call: Call, kept: Path, server: StandIn
) -> None:
    code, _, err = call("ship", str(kept), "--templates", "--endpoint", server.url, "--quiet")

    assert code == 4, "a server that knows no bulk requests"
    assert "it answers 200 to /_bulk" in err
    methods = [method for method, _, _ in server.asked]
    assert methods.index("POST") > max(n for n, one in enumerate(methods) if one == "PUT")


def test_templates_are_of_elasticsearch(call: Call) -> None:
    code, _, err = call("ship", "--templates", "--to", "otlp")

    assert code == 2
    assert "--templates are of Elasticsearch, not of --to otlp" in err


# ---- OpenTelemetry


def test_an_opentelemetry_backend_gets_the_spans_that_a_folder_gets(
    call: Call, kept: Path, server: StandIn
) -> None:
    server.answers[("POST", PATH)] = (200, b"")

    code, out, err = call("ship", "--to", "otlp", "--endpoint", server.url)
    call("ship", "--to", "there")

    lines = Path("there/spans.ndjson").read_text("utf-8").splitlines()
    written = {
        (one["trace"]["id"], one["span"]["id"], one.get("parent", {}).get("id", ""))
        for one in map(json.loads, lines)
        if one["processor"]["event"] != "error"
    }
    came = {
        (span.trace_id.hex(), name, span.parent_span_id.hex())
        for name, (_, span) in spans_of(server).items()
    }
    assert came == written
    assert (code, err) == (0, "")
    assert out == f"duplicates/{kept.name}: {len(came):,} spans to {server.url}\n"


def test_an_opentelemetry_backend_that_is_away_is_exit_code_4(
    call: Call, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")

    code, out, err = call("ship", str(kept), "--to", "otlp", "--endpoint", NOWHERE)

    assert (code, out) == (4, "")
    assert len(err.splitlines()) == 1
    assert "the OpenTelemetry backend at http://127.0.0.1:9/v1/traces: it took 0 spans" in err
    assert "--endpoint URL" in err


# ---- with a run


@pytest.mark.parametrize(
    ("off", "code", "headline"), [((), 4, "PASS"), (("--off", "dedupe,inbox"), 1, "FAIL")]
)
def test_a_run_that_cannot_be_shipped_is_shown_and_kept_and_its_own_exit_code_goes_first(
    off: tuple[str, ...], code: int, headline: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_ELASTICSEARCH_URL", NOWHERE)

    ended, out, err = call(*SMALL, *off, "--ship")

    assert ended == code
    assert headline in out
    first, then = err.splitlines()
    assert first.startswith("lab: not shipped: Elasticsearch at 127.0.0.1:9: no connection")
    folder = then.removeprefix("lab: the run is kept; later: lab ship ")
    assert call("ship", folder, "--to", "there")[0] == 0


def test_the_result_is_printed_whole_before_anything_is_shipped(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_ELASTICSEARCH_URL", NOWHERE)

    code, out, err = call(*SMALL, "--ship", "--json")

    assert code == 4
    assert json.loads(out)["verdict"] == "PASS"
    assert "not shipped" in err


def test_many_seeds_are_not_shipped(call: Call) -> None:
    code, _, err = call("run", "duplicates", "--seeds", "1-2", "--ship")

    assert code == 2
    assert "--ship is of one run" in err


# ---- links


def test_with_a_kibana_the_page_and_the_shipment_say_where_to_look(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_KIBANA_URL", "http://kibana.example:5601")

    page = call("run", "duplicates", "--orders", "20", "--off", "dedupe,inbox")[1].splitlines()
    shipped = call("ship", "--to", "there")[1].splitlines()

    (trace,) = [line for line in page if "/app/apm/link-to/trace/" in line]
    (board,) = [line for line in page if "/app/dashboards#/view/orders-lab?" in line]
    assert trace.startswith("Order ")
    assert board.startswith("Dashboard ")
    assert "rangeFrom=2024-12-31T23%3A59%3A00.000Z&rangeTo=2025-01-01T00%3A0" in trace
    assert shipped[-2].split()[-1] == trace.split()[-1]
    assert shipped[-1].split()[-1] == board.split()[-1]
    traced = trace.split("/trace/")[1].partition("?")[0]
    spans = Path("there/spans.ndjson").read_text("utf-8").splitlines()
    assert sum(f'"trace":{{"id":"{traced}"}}' in span for span in spans) > 5


def test_without_a_kibana_and_in_json_a_result_has_no_links(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "/app/" not in call("run", "duplicates", "--orders", "20")[1]
    monkeypatch.setenv("LAB_KIBANA_URL", "http://kibana.example:5601")
    assert "/app/" not in call(*SMALL, "--json")[1]
    assert "/app/" in call("ship", "--to", "there", "--json")[1]
