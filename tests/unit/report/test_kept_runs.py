"""Runs that are kept: found by their names, in one order, and pruned from the oldest on."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lab.report.kept_runs import RunNameError, find_run, kept_runs, prune_runs
from lab.report.run_folder import RunFolder

NOON = datetime(2031, 5, 4, 12, 0, 1, tzinfo=UTC)


def make_run(
    out: Path, *, seed: int = 7, after_s: int = 0, name: str = "duplicates", verdict: str = "PASS"
) -> Path:
    folder = RunFolder(out, name, seed, NOON + timedelta(seconds=after_s))
    folder.stage("result.json").write_text(
        f'{{"scenario":"{name}","seed":{seed},"verdict":"{verdict}","digest":"ab","more":[1]}}'
    )
    assert folder.commit() == ""
    return folder.path


def test_kept_runs_are_listed_newest_first_without_what_is_no_run(tmp_path: Path) -> None:
    old = make_run(tmp_path, seed=1, verdict="FAIL")
    new = make_run(tmp_path, seed=2, after_s=5)
    (tmp_path / "other").mkdir()
    broken = make_run(tmp_path, seed=3)
    (broken / "result.json").write_text("{")
    RunFolder(tmp_path, "duplicates", 9, NOON)

    runs = list(kept_runs(tmp_path))

    assert [(run.path, run.seed, run.verdict) for run in runs] == [
        (str(new), 2, "PASS"),
        (str(old), 1, "FAIL"),
    ]
    assert runs[0].began == "2031-05-04T12:00:06Z"
    assert list(kept_runs(tmp_path / "none")) == []


def test_the_size_of_a_run_is_that_of_all_its_files(tmp_path: Path) -> None:
    path = make_run(tmp_path)
    before = next(kept_runs(tmp_path)).bytes_kept
    (path / "report.html").write_bytes(b"x" * 100)

    assert next(kept_runs(tmp_path)).bytes_kept == before + 100


def test_latest_is_what_the_link_says_and_the_others_follow_by_time(tmp_path: Path) -> None:
    younger = make_run(tmp_path, seed=1, after_s=9)
    oldest = make_run(tmp_path, seed=2)
    ended_last = make_run(tmp_path, seed=3, after_s=4)

    assert find_run(None, tmp_path) == ended_last
    assert [find_run(f"latest~{back}", tmp_path) for back in range(3)] == [
        ended_last,
        younger,
        oldest,
    ]
    with pytest.raises(RunNameError, match=r"only 3 runs in .* so there is no latest~3"):
        find_run("latest~3", tmp_path)


def test_runs_of_one_second_follow_by_the_time_at_which_they_were_written(tmp_path: Path) -> None:
    paths = [make_run(tmp_path, seed=7) for _ in range(11)]
    for number, path in enumerate(paths):
        os.utime(path / "result.json", ns=(number, number))

    (tmp_path / "latest").unlink()

    assert find_run("latest", tmp_path) == paths[10]
    assert find_run("latest~9", tmp_path) == paths[1]


def test_a_unique_beginning_is_enough_and_a_whole_name_goes_before_a_beginning(
    tmp_path: Path,
) -> None:
    first = make_run(tmp_path, seed=7)
    second = make_run(tmp_path, seed=7)
    other = make_run(tmp_path, name="crashes", seed=7)

    assert find_run("crash", tmp_path) == other
    assert find_run(f"duplicates/{first.name}", tmp_path) == first
    assert find_run(second.name, tmp_path) == second
    assert find_run(str(first), tmp_path / "elsewhere") == first


def test_an_ambiguous_name_lists_the_runs_that_it_may_mean(tmp_path: Path) -> None:
    names = [f"duplicates/{make_run(tmp_path, seed=seed).name}" for seed in range(12)]

    with pytest.raises(RunNameError) as refused:
        find_run("duplicates", tmp_path)

    assert str(refused.value).startswith("'duplicates' may be one of 12 runs: ")
    assert str(refused.value).endswith(", and 2 more")
    assert sum(name in str(refused.value) for name in names) >= 10


@pytest.mark.parametrize("name", ["nobody", "latest~x", "latest~-1", "latest~", "../duplicates"])
def test_a_name_of_no_run_is_refused(tmp_path: Path, name: str) -> None:
    make_run(tmp_path / "runs")

    with pytest.raises(RunNameError):
        find_run(name, tmp_path / "runs")


def test_without_any_run_it_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RunNameError, match="lab run happy-path"):
        find_run("latest", tmp_path)


def test_pruning_leaves_the_newest_runs_and_whatever_is_no_run(tmp_path: Path) -> None:
    oldest = make_run(tmp_path, name="crashes")
    older = make_run(tmp_path, after_s=1)
    kept = [make_run(tmp_path, after_s=seconds) for seconds in (2, 3)]
    mine = tmp_path / "mine" / "notes-s1"
    mine.mkdir(parents=True)
    (mine / "result.json").write_text("{}")
    at_work = RunFolder(tmp_path, "duplicates", 1, NOON)

    gone = prune_runs(tmp_path, 2)

    assert sorted(gone) == sorted([older, oldest])
    assert [Path(run.path) for run in kept_runs(tmp_path)] == kept[::-1]
    assert not oldest.parent.exists(), "a folder of no runs is gone too"
    assert mine.is_dir()
    assert at_work.stage("x").parent.is_dir()
    assert prune_runs(tmp_path, 2) == []


def test_what_an_interrupted_pruning_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path = make_run(tmp_path)
    half = path.with_name(f".{path.name}.removed")
    half.mkdir()

    prune_runs(tmp_path, 5)

    assert not half.exists()
    assert path.is_dir()
