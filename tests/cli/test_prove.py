"""`lab prove`: its verdicts, its exit codes, and what it refuses."""

import json
from pathlib import Path

import pytest

from lab.cli import app
from lab.explore.proving import Proving

SMALL = ("prove", "happy-path", "--orders", "1", "--jobs", "1")
DUPLICATES = ("--kinds", "bus.duplicate")


def proof(*arguments: str, capsys: pytest.CaptureFixture[str], code: int) -> dict[str, object]:
    """The JSON of a proof."""
    assert app.run_command([*arguments, "--json"]) == code, capsys.readouterr().err
    told: dict[str, object] = json.loads(capsys.readouterr().out)
    return told


def test_all_plans_held(capsys: pytest.CaptureFixture[str]) -> None:
    told = proof(*SMALL, *DUPLICATES, capsys=capsys, code=0)

    assert (told["verdict"], told["left"], told["partial"]) == ("PASS", 0, False)
    assert told["levels"] == [
        {"faults": 0, "plans": 1, "covered": 1, "left_out": []},
        {"faults": 1, "plans": 5, "covered": 5, "left_out": []},
    ]


@pytest.mark.parametrize("scenario", ["happy-path", "duplicates"])
def test_the_smallest_plan_that_breaks_a_promise_is_kept_and_can_be_repeated(
    scenario: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    base = ("prove", scenario, "--orders", "1", "--jobs", "1", "--off", "dedupe,inbox")
    told = proof(*base, *DUPLICATES, capsys=capsys, code=1)

    broken = told["broken"]
    assert isinstance(broken, dict)
    assert (told["verdict"], broken["promise"]) == ("FAIL", "effect-once")
    assert broken["faults"] == ["bus.duplicate@validation#1:1"]
    assert (Path(broken["run_dir"]) / "result.json").exists()
    again = broken["reproduce"]
    # A scenario with faults of its own has no line that leaves them out.
    assert again.startswith("lab run" if scenario == "happy-path" else "lab replay")
    assert broken["witness"]


def test_the_page_names_the_plan_the_levels_and_what_was_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    off = ("--off", "inbox", "--out", str(tmp_path))
    kinds = ("--kinds", "bus.duplicate,redis.evict")
    assert app.run_command([*SMALL, *kinds, "--faults", "2", *off]) == 1

    page = " ".join(capsys.readouterr().out.split())
    assert "1 order up to 2 faults FAIL" in page
    assert "Fault bus.duplicate@validation#1:1 Fault redis.evict@validation#1:2" in page
    assert "strikes before the others" in page
    assert "Again lab run happy-path" in page


def test_counting_ends_before_the_last_level_and_says_how_long_it_would_take(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert app.run_command([*SMALL, *DUPLICATES, "--faults", "2", "--count"]) == 3

    page = " ".join(capsys.readouterr().out.split())
    assert "6 plans held" in page
    assert "are left" in page
    assert "2 faults 0 of " in page


def test_ctrl_c_leaves_what_was_covered(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_proving: Proving, *_given: object, **_named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Proving, "run", interrupted)
    told = proof(*SMALL, *DUPLICATES, capsys=capsys, code=130)

    assert (told["verdict"], told["partial"], told["covered"]) == ("UNKNOWN", True, 0)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--seeds", "1-9"), "--seed, not --seeds"),
        (("--fault", "bus.duplicate"), "leave --fault out"),
        (("--real",), "simulated world"),
        (("--html", "x.html"), "--html"),
        (("--junit", "x.xml"), "--junit"),
        (("--faults", "0"), "--faults must be from 1"),
        (("--faults", "two"), "--faults must be a whole number"),
        (("--max-plans", "0"), "--max-plans must be from 1"),
        (("--kinds", "bus.duplicates"), "did you mean bus.duplicate"),
        (("--kinds", "svc.slow"), "is no fault that is proven"),
        (("--jobs", "0"), "--jobs must be from 1"),
        (("--off", "dedup"), "did you mean dedupe"),
        (("--beyond-contract", "--set", "payment.key_mode=none"), "nothing to prove"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_run(
    more: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run_command(["prove", "happy-path", *more]) == 2

    told = capsys.readouterr()
    assert said in " ".join(told.err.split())
    assert told.out == ""
