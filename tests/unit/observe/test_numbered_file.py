"""Lines in files that are bounded, and whose paths are never used again."""

from pathlib import Path

import pytest

from lab.observe.numbered_file import KEPT, NumberedFile


def names(folder: Path) -> list[str]:
    """What stands in the folder."""
    return sorted(path.name for path in folder.iterdir())


def test_a_file_that_is_full_ends_and_the_next_one_has_the_next_number(tmp_path: Path) -> None:
    file = NumberedFile(tmp_path, "work-1.logs", bytes_max=20)
    for number in range(4):
        file.write(f"line {number} of ten\n")
    file.close()

    assert names(tmp_path) == ["work-1.logs.1.ndjson", "work-1.logs.2.ndjson"]
    text = "".join((tmp_path / name).read_text("utf-8") for name in names(tmp_path))
    assert text == "".join(f"line {number} of ten\n" for number in range(4))


def test_only_the_last_files_are_kept_and_a_path_never_comes_back(tmp_path: Path) -> None:
    file = NumberedFile(tmp_path, "a", bytes_max=1)
    seen: list[str] = []
    for number in range(12):
        file.write(f"{number}\n")
        seen += [name for name in names(tmp_path) if name not in seen]
        assert len(names(tmp_path)) <= KEPT
    file.close()

    assert seen == [f"a.{number}.ndjson" for number in range(1, 13)]


def test_a_process_that_comes_back_goes_on_in_the_file_of_the_highest_number(
    tmp_path: Path,
) -> None:
    for name in ("a.2.ndjson", "a.10.ndjson", "b.11.ndjson", "a.x.ndjson", "a.012.ndjson"):
        (tmp_path / name).write_text("before\n", "utf-8")

    file = NumberedFile(tmp_path, "a")
    file.write("after\n")
    file.close()

    assert (tmp_path / "a.10.ndjson").read_text("utf-8") == "before\nafter\n"


def test_every_line_is_written_at_once_and_any_text_can_be(tmp_path: Path) -> None:
    file = NumberedFile(tmp_path, "a")
    file.write("\ud800 ❤\n")

    assert (tmp_path / "a.1.ndjson").read_bytes() == "\\ud800 ❤\n".encode()
    file.close()


def test_what_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    file = NumberedFile(tmp_path / ".", "a", bytes_max=1)
    file.write("one\n")
    (tmp_path / "a.1.ndjson").unlink()
    tmp_path.rmdir()

    file.write("no place for the next file\n")

    file.close()
    assert not tmp_path.exists()
    tmp_path.mkdir()


def test_a_folder_that_is_missing_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        NumberedFile(tmp_path / "nowhere", "a")
