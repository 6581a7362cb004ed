"""What a real process logs, on standard error and in a file."""

import gc
import json
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.domain.errors import EnvironmentNotReady
from lab.observe.ecs import hear_of_threads, log_to_stderr
from lab.observe.ecs_line import line_document
from lab.observe.fields import Origin
from lab.observe.model import LogLine
from tests.kit.telemetry import faults_of


def close_file() -> None:
    """Close the file that the root logger writes to."""
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:
            handler.stream.close()


def lines_of(folder: Path) -> list[Any]:
    """The records in the file of the process."""
    text = (folder / "payment-1.logs.1.ndjson").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def restored() -> Iterator[None]:
    """Leave the root logger as it was: its handlers hold a file of the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        if handler not in handlers:
            close_file()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.mark.usefixtures("restored")
def test_a_line_in_the_file_is_the_line_on_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = log_to_stderr(service="lab-payment", process="payment-1", run_id="r1", folder=tmp_path)
    log.warning("late: %s ms", 7, extra={"event.action": "stall"})
    logging.getLogger("aiokafka.client").error("no\nbroker")

    told = capsys.readouterr().err
    assert (tmp_path / "payment-1.logs.1.ndjson").read_text("utf-8") == told
    assert len(told.splitlines()) == 2


@pytest.fixture
def hooks() -> Iterator[None]:
    """Leave Python's own hooks as they were."""
    of_threads, of_finalizers = threading.excepthook, sys.unraisablehook
    yield
    threading.excepthook, sys.unraisablehook = of_threads, of_finalizers


@pytest.mark.usefixtures("restored", "hooks")
def test_exceptions_that_nobody_can_catch_are_lines_with_their_stack(tmp_path: Path) -> None:
    log_to_stderr(service="lab-payment", process="payment-1", run_id="r1", folder=tmp_path)
    hear_of_threads()

    class Unlucky:
        def __del__(self) -> None:
            raise ValueError("at its end")

    def fail() -> None:
        raise ValueError("in a thread")

    thread = threading.Thread(target=fail, name="worker")
    thread.start()
    thread.join()
    Unlucky()
    gc.collect()
    leaving = threading.Thread(target=sys.exit)
    leaving.start()
    leaving.join()

    records = lines_of(tmp_path)
    assert [record["error"]["message"] for record in records] == ["in a thread", "at its end"]
    assert {record["event"]["action"] for record in records} == {"unexpected"}
    assert all("File " in record["error"]["stack_trace"] for record in records)
    assert [faults_of(record) for record in records] == [[], []]


@pytest.mark.usefixtures("restored")
def test_every_field_of_a_line_is_on_the_list_and_says_where_it_belongs(
    tmp_path: Path,
) -> None:
    log = log_to_stderr(service="lab-payment", process="payment-1", run_id="r1", folder=tmp_path)
    try:
        raise ValueError("a mistake of ours")
    except ValueError:
        log.exception("it failed", extra={"event.action": "failure"})

    (line,) = (tmp_path / "payment-1.logs.1.ndjson").read_text("utf-8").splitlines()
    record = json.loads(line)
    assert faults_of(record) == []
    assert record["event"]["action"] == "failure"
    assert record["labels"]["run_id"] == "r1"
    assert record["data_stream"] == {
        "dataset": "orders.lab",
        "namespace": "default",
        "type": "logs",
    }


@pytest.mark.usefixtures("restored")
def test_a_line_of_a_library_is_a_whole_record_with_an_id_of_its_own(tmp_path: Path) -> None:
    log_to_stderr(service="lab-payment", process="payment-1", run_id="r1", folder=tmp_path)
    for number in range(3):
        logging.getLogger(f"uvicorn.part{number}").error("away")

    records = lines_of(tmp_path)
    assert [faults_of(record) for record in records] == [[]] * 3
    assert {record["event"]["action"] for record in records} == {"log"}
    assert len({record["event"]["id"] for record in records}) == 3
    assert all("original" not in record["log"] for record in records)


@pytest.mark.usefixtures("restored")
def test_a_process_that_comes_again_under_its_old_name_gives_other_ids(tmp_path: Path) -> None:
    for _ in range(2):
        log = log_to_stderr(service="s", process="payment-1", run_id="r1", folder=tmp_path)
        log.warning("ready")
        close_file()

    first, second = lines_of(tmp_path)
    assert first["event"]["id"] != second["event"]["id"]


@pytest.mark.usefixtures("restored")
def test_a_line_of_the_fold_keeps_what_it_says_and_its_id(tmp_path: Path) -> None:
    line = LogLine(
        at_us=0,
        id="00ff",
        level="error",
        message="dead letter",
        action="dead-letter",
        service="payment",
        node="payment-1",
        subject="1.1",
        attributes={"lab.reason": "poison"},
    )
    origin = Origin(run_id="r1", environment="real", version="1")
    document = line_document(line, origin)
    own = {"@timestamp", "log", "message", "ecs", "service"}
    log = log_to_stderr(service="lab-payment", process="payment-1", run_id="r1", folder=tmp_path)

    log.error(line.message, extra={name: one for name, one in document.items() if name not in own})

    (record,) = lines_of(tmp_path)
    assert faults_of(record) == []
    assert record["event"] == document["event"]
    assert record["labels"] == {"order_id": "1.1", "run_id": "r1"}
    assert record["lab"] == {"reason": "poison"}


@pytest.mark.usefixtures("restored")
def test_what_repeats_within_a_second_is_one_line_there_and_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log_to_stderr(service="s", process="payment-1", run_id="r1", folder=tmp_path)
    library = logging.getLogger("aiokafka.client")
    for second in (0.0, 0.1, 0.2, 1.5):
        record = library.makeRecord(
            library.name, logging.ERROR, "client.py", 1, "node %s is away", (second,), None
        )
        record.created = 1_000 + second
        library.handle(record)

    first, next_one = lines_of(tmp_path)
    assert "lab" not in first
    assert next_one["lab"] == {"repeated": 2}
    assert faults_of(next_one) == []
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.usefixtures("restored")
def test_a_folder_that_cannot_be_written_is_said_with_the_variable_that_names_it(
    tmp_path: Path,
) -> None:
    with pytest.raises(EnvironmentNotReady, match="LAB_TELEMETRY"):
        log_to_stderr(service="s", process="p", run_id="r", folder=tmp_path / "nowhere")
