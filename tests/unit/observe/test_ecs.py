"""What a real process logs, on standard error and in a file."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.domain.errors import EnvironmentNotReady
from lab.observe.ecs import log_to_stderr
from lab.observe.numbered_file import NumberedFile
from tests.kit.telemetry import faults_of

# No library tells these of a line: what writes the history down does.
ABSENT = {"event.action is missing in a log", "event.id is missing in a log"}


@pytest.fixture
def restored() -> Iterator[None]:
    """Leave the root logger as it was: its handlers hold a file of the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        if handler not in handlers:
            stream = getattr(handler, "stream", None)
            if isinstance(stream, NumberedFile):
                stream.close()
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
    assert set(faults_of(record)) <= ABSENT
    assert record["labels"]["run_id"] == "r1"
    assert record["data_stream"] == {
        "dataset": "orders.lab",
        "namespace": "default",
        "type": "logs",
    }


@pytest.mark.usefixtures("restored")
def test_a_folder_that_cannot_be_written_is_said_with_the_variable_that_names_it(
    tmp_path: Path,
) -> None:
    with pytest.raises(EnvironmentNotReady, match="LAB_TELEMETRY"):
        log_to_stderr(service="s", process="p", run_id="r", folder=tmp_path / "nowhere")
