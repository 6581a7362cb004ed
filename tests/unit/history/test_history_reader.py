"""A kept history comes back as it was written, and what is none is named by its line."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from lab.history.digest import Digest
from lab.history.entries import FIELDS, Entry, as_dict
from lab.history.history_reader import HistoryError, digest_of, read_history

BEGIN: Entry = ("publish.begin", 7, "relay-1", "1.1", "orders", ("e1",), ("c1",), ("1.1",))
KILL: Entry = ("life", 9, "relay-1", "", "kill")
REFUSED: Entry = ("claim", 9, "payment-1", "", "payment", "e1", "acquired", 3)


class Taken:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def take(self, batch: Sequence[Entry]) -> None:
        self.entries += batch


def write(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"".join(lines))
    return path


def line_of(entry: Entry) -> bytes:
    return msgspec.json.encode(as_dict(entry)) + b"\n"


def test_every_kind_of_entry_comes_back(tmp_path: Path) -> None:
    values: list[object] = ["a", 1, True, ("b", "c"), (), "", -5]
    entries = [
        (kind, 7, "p", "1.1", *(values[place % len(values)] for place in range(len(fields) - 4)))
        for kind, fields in FIELDS.items()
    ]

    found = list(read_history(write(tmp_path / "h", *map(line_of, entries))))

    assert found == entries


def test_lists_in_lists_are_tuples_in_tuples(tmp_path: Path) -> None:
    nested: Entry = ("owned", 1, "p", "", "g", 2, (("orders", 1), ("orders", 2)))

    (found,) = read_history(write(tmp_path / "h", line_of(nested)))

    assert found == nested
    hash(found)


def test_the_names_may_stand_in_any_order(tmp_path: Path) -> None:
    told = dict(reversed(as_dict(BEGIN).items()))

    assert list(read_history(write(tmp_path / "h", msgspec.json.encode(told) + b"\n"))) == [BEGIN]


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (line_of(KILL)[:-1], "line 2: the file breaks off here"),
        (b'{"kind":"life"', "line 2: the file breaks off here"),
        (b"not json\n", "line 2: not JSON"),
        (b"\xff\xfe\n", "line 2: "),
        (b"[]\n", "line 2: no entry of this version"),
        (b"{}\n", "line 2: no entry of this version"),
        (b'{"kind":"unheard-of","t_us":1}\n', "line 2: no entry of this version"),
        (b'{"kind":"life","t_us":1,"process":"p","subject":""}\n', "line 2: no entry"),
        (line_of(KILL).replace(b"}", b',"more":1}'), "line 2: no entry of this version"),
        (line_of(KILL).replace(b'"kill"', b'{"a":1}'), "line 2: no entry of this version"),
    ],
)
def test_what_is_no_entry_is_named_by_its_line(bad: bytes, told: str, tmp_path: Path) -> None:
    path = write(tmp_path / "h", line_of(BEGIN), bad)

    with pytest.raises(HistoryError, match=told) as raised:
        list(read_history(path))

    assert "run it again" in str(raised.value)


def test_a_file_that_is_not_there_says_how_to_find_one(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="lab list --runs"):
        list(read_history(tmp_path / "none"))


def test_the_digest_is_that_of_the_run_and_whoever_wants_the_entries_gets_each_once(
    tmp_path: Path,
) -> None:
    entries = [BEGIN, KILL, REFUSED] * 700
    path = write(tmp_path / "h", *map(line_of, entries))
    written, taken = Digest(), Taken()
    written.take(entries)

    found = digest_of(path, taken)

    assert found == (written.hexdigest(), len(entries))
    assert taken.entries == entries
