"""The folder of a run: whole or not there, unique, and found again."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from lab.report.run_folder import RunFolder, RunFolderError

NOON = datetime(2031, 5, 4, 12, 0, 1, tzinfo=UTC)


def make_run(out: Path, *, seed: int = 7, at: datetime = NOON, verdict: str = "PASS") -> Path:
    folder = RunFolder(out, "duplicates", seed, at)
    folder.stage("result.json").write_text(
        f'{{"scenario":"duplicates","seed":{seed},"verdict":"{verdict}","digest":"ab",'
        '"reproduce":"lab run duplicates","more":[1]}'
    )
    assert folder.commit() == ""
    return folder.path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_run_is_shown_whole_under_its_name(tmp_path: Path) -> None:
    out = tmp_path / "new" / "runs"
    folder = RunFolder(out, "duplicates", 7, NOON)
    folder.stage("result.json").write_text("{}")
    folder.stage("plan.json").write_text("[]")
    promised = folder.path
    assert list((out / "duplicates").glob("[0-9]*")) == []

    assert folder.commit() == ""
    path = folder.path

    assert path == promised == out / "duplicates" / "20310504T120001Z-s7"
    assert names(path) == ["plan.json", "result.json"]
    assert names(out) == ["duplicates", "latest"]
    assert names(out / "duplicates") == [path.name]


def test_latest_points_to_the_newest_run_and_may_be_moved_with_it(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", seed=1)
    path = make_run(tmp_path / "runs", seed=2)

    latest = tmp_path / "runs" / "latest"
    assert latest.resolve() == path.resolve()
    assert not latest.readlink().is_absolute()


def test_two_runs_of_a_second_get_folders_of_their_own(tmp_path: Path) -> None:
    both = [RunFolder(tmp_path, "duplicates", 7, NOON) for _ in range(2)]
    for number, folder in enumerate(both):
        folder.stage("result.json").write_text(str(number))

    assert [folder.commit() for folder in both] == ["", ""]
    paths = [folder.path for folder in both]

    assert [path.name for path in paths] == ["20310504T120001Z-s7", "20310504T120001Z-s7-2"]
    assert [(path / "result.json").read_text() for path in paths] == ["0", "1"]


def test_the_name_tells_universal_time(tmp_path: Path) -> None:
    path = make_run(tmp_path, at=NOON.astimezone(timezone(timedelta(hours=5))))

    assert path.name == "20310504T120001Z-s7"


def test_a_discarded_run_leaves_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs", "duplicates", 7, NOON)
    folder.stage("result.json").write_text("half")

    folder.discard()
    folder.discard()

    assert names(tmp_path) == []


def test_discarding_touches_no_other_run(tmp_path: Path) -> None:
    path = make_run(tmp_path)

    RunFolder(tmp_path, "duplicates", 8, NOON).discard()

    assert names(tmp_path) == ["duplicates", "latest"]
    assert names(tmp_path / "duplicates") == [path.name]


def test_a_committed_run_cannot_be_discarded(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "duplicates", 7, NOON)
    folder.stage("result.json").write_text("{}")
    assert folder.commit() == ""
    path = folder.path

    folder.discard()

    assert names(path) == ["result.json"]


def test_a_place_that_cannot_be_written_is_refused_before_the_run(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")

    with pytest.raises(RunFolderError, match=r"cannot write runs to .*file.*--out DIR"):
        RunFolder(file, "duplicates", 7, NOON)
    with pytest.raises(RunFolderError, match="cannot write"):
        RunFolder(Path("/proc/none"), "duplicates", 7, NOON)

    assert file.read_text() == "mine"


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc", ".hidden", "x" * 200, "a\0b"])
def test_a_scenario_cannot_name_a_folder_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunFolderError, match="cannot be the name"):
        RunFolder(tmp_path, name, 7, NOON)

    assert names(tmp_path) == []


def test_a_folder_of_the_user_named_latest_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "mine").write_text("mine")

    make_run(tmp_path)

    assert names(tmp_path / "latest") == ["mine"]


def test_a_folder_that_vanished_meanwhile_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs", "duplicates", 7, NOON)
    folder.stage("x").parent.rmdir()

    assert "could not be kept" in folder.commit()

    assert names(tmp_path) == []
