"""Journals: what a killed process leaves, and how many of them become one history."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.history.entries import Entry, time_of
from lab.history.facts import PhaseEntry
from lab.history.journal import Journal, JournalError, merged, read_journal
from tests.kit.entries import of_type
from tests.kit.histories import HEALTHY, judge

NESTED: Entry = ("owned", 3, "payment-1", "", "payment", 2, (("orders", 0), ("orders", 1)))
PUBLISH: Entry = (
    "publish.begin",
    1,
    "relay-1",
    "1.1",
    "orders",
    ("a", "b"),
    ("c", "a"),
    ("1.1", "1.1"),
)
PHASE: Entry = ("phase", 2, "run", "", "heal")


def fail(failure: OSError) -> None:
    raise AssertionError(failure)


def write(path: Path, *entries: Entry) -> None:
    journal = Journal(path, on_failure=fail)
    for entry in entries:
        journal.write(entry)
    journal.close()


@pytest.mark.parametrize("story", HEALTHY)
def test_entries_come_back_as_they_were_written(story: str, tmp_path: Path) -> None:
    entries = HEALTHY[story]()
    write(tmp_path / "j", *entries, NESTED, PUBLISH)

    found = list(read_journal(tmp_path / "j"))

    assert found == [*entries, NESTED, PUBLISH]
    assert [list(map(type, entry)) for entry in found[:-2]] == [
        list(map(type, entry)) for entry in entries
    ]
    assert judge(found[:-2]) == judge(entries)


def test_every_entry_is_there_before_the_next_thing_happens(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", on_failure=fail)
    journal.write(PHASE)

    assert list(read_journal(tmp_path / "j")) == [PHASE]

    journal.close()


def test_a_killed_process_leaves_what_it_wrote(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from lab.history.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]), on_failure=print)\n"
        "for n in range(1000):\n"
        "    journal.write(('phase', n, 'run', '', 'heal'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "j"

    ended = subprocess.run([sys.executable, "-c", program, str(path)], check=False, timeout=30)

    assert ended.returncode == -signal.SIGKILL
    assert [time_of(entry) for entry in read_journal(path)] == list(range(1000))


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_torn_last_line_is_left_out(cut: int, tmp_path: Path) -> None:
    write(tmp_path / "j", PUBLISH, PHASE)
    whole = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(whole[:-cut])

    assert list(read_journal(tmp_path / "j")) == [PUBLISH]


@pytest.mark.parametrize(
    "line", [b"{}", b"[]", b"[[1]]", b'["phase",1]', b'["x",1,"run",""]', b"\xff", b""]
)
def test_a_line_that_is_no_entry_is_told_with_its_place(line: bytes, tmp_path: Path) -> None:
    write(tmp_path / "j", PHASE)
    with (tmp_path / "j").open("ab") as file:
        file.write(line + b"\n")

    with pytest.raises(JournalError, match="j, line 2"):
        list(read_journal(tmp_path / "j"))


def test_the_file_of_another_life_is_not_written_to(tmp_path: Path) -> None:
    write(tmp_path / "j", PHASE)

    with pytest.raises(FileExistsError):
        Journal(tmp_path / "j", on_failure=fail)


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file grows beyond 100 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("small_files")
def test_after_the_first_entry_that_could_not_be_written_nothing_more_is(tmp_path: Path) -> None:
    failures: list[OSError] = []
    journal = Journal(tmp_path / "j", on_failure=failures.append)
    for n in range(10):
        journal.write(("phase", n, "run", "", "heal"))

    assert len(failures) == 1
    assert journal.failure is failures[0]
    found = [time_of(entry) for entry in read_journal(tmp_path / "j")]
    assert found == list(range(len(found)))
    assert 0 < len(found) < 10
    journal.close()


def test_a_journal_belongs_to_its_user_alone(tmp_path: Path) -> None:
    write(tmp_path / "j", PHASE)

    assert os.stat(tmp_path / "j").st_mode & 0o777 == 0o600  # noqa: PTH116 - as the system says it


def test_sources_are_merged_by_time_and_the_first_one_comes_first_at_one_instant() -> None:
    one = [("phase", 1, "a", "", "x"), ("phase", 5, "a", "", "x")]
    two = [("phase", 1, "b", "", "x"), ("phase", 3, "b", "", "x"), ("phase", 5, "b", "", "x")]

    found = [(t_us, process) for _, t_us, process, *_ in merged([one, two])]

    assert found == [(1, "a"), (1, "b"), (3, "b"), (5, "a"), (5, "b")]


_TIMES = st.lists(st.integers(0, 20), max_size=12)


@given(st.lists(_TIMES, max_size=5))
def test_a_merge_keeps_the_order_of_each_source_even_if_its_clock_goes_back(
    sources: list[list[int]],
) -> None:
    told = [
        [("phase", t_us, f"{who}", "", f"{n}") for n, t_us in enumerate(times)]
        for who, times in enumerate(sources)
    ]

    found = list(merged(told))

    assert len(found) == sum(map(len, told))
    for who, mine in enumerate(told):
        assert [phase for phase in of_type(found, PhaseEntry) if phase.process == f"{who}"] == mine
