"""Scenarios from TOML: what is not known is refused with file, line, key and the nearest name."""

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import patterns
from lab.resources import resource_path
from lab.scenarios.loader import (
    ScenarioError,
    find_scenario,
    load_catalogue,
    load_file,
    toml_of,
)

SHIPPED = """
    happy-path real-orders duplicates timeouts hung-after-charge declined-cards poison-message
    crashes crash-before-ack crash-between-commit-and-publish graceful-shutdown client-retries
    cancellation black-friday slow-third-party flapping-gateway retry-backlog lost-acks reordering
    crash-loop rebalance-storm broker-outage broker-failover redis-down redis-evicted
    postgres-outage everything
"""
KEYS = """
    summary story worlds orders rate spike orders_from faults swarm patterns promises goals next set
"""
FIRST = '[scenarios.mine]\nsummary = "mine"\n'


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "own.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_the_catalogue_holds_every_shipped_scenario() -> None:
    assert set(load_catalogue()) >= set(SHIPPED.split())


def test_every_shipped_scenario_has_a_story_goals_and_a_next_step() -> None:
    for scenario in load_catalogue().values():
        assert scenario.story, scenario.name
        assert scenario.goals or scenario.swarm, scenario.name
        assert scenario.promises, scenario.name
        assert scenario.next, scenario.name


def test_every_next_step_names_a_scenario_and_patterns_that_exist() -> None:
    catalogue = load_catalogue()
    for scenario in catalogue.values():
        for command in scenario.next:
            words = command.split()
            assert words[0] == "lab"
            if words[1] == "run":
                assert words[2] in catalogue, command
            if "--off" in words:
                off = words[words.index("--off") + 1].split(",")
                assert set(off) <= set(patterns.NAMES), command


def test_a_table_says_what_the_scenario_is(tmp_path: Path) -> None:
    text = FIRST + (
        'story = """\nlong\n"""\nworlds = ["real"]\norders = 5\nrate = 2\norders_from = "x"\n'
        'faults = ["bus.duplicate rate=0.2"]\npatterns = ["inbox"]\npromises = ["effect-once"]\n'
        'goals = ["bus.duplicate >= 4 %"]\nnext = ["lab list"]\nset = { "retry.in_place" = 2 }\n'
        "swarm = true\n"
    )

    (scenario,) = load_file(write(tmp_path, text))

    assert scenario.name == "mine"
    assert (scenario.orders, scenario.rate, scenario.orders_from) == (5, 2.0, "x")
    assert (scenario.worlds, scenario.story) == (("real",), "long")
    assert scenario.faults == ("bus.duplicate rate=0.2",)
    assert scenario.settings == {"retry.in_place": 2}
    assert scenario.swarm


def test_a_file_of_ones_own_adds_to_the_catalogue_and_replaces_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, FIRST + '[scenarios.crashes]\nsummary = "other"\n')

    catalogue = load_catalogue([path])

    assert catalogue["mine"].summary == "mine"
    assert catalogue["crashes"].summary == "other"
    assert "duplicates" in catalogue


def test_a_byte_order_mark_before_the_first_table_is_no_mistake(tmp_path: Path) -> None:
    (scenario,) = load_file(write(tmp_path, b"\xef\xbb\xbf" + FIRST.encode()))

    assert scenario.name == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no table"),
        ("scenarios = 3", "no table"),
        ("[scenarios]", "no table"),
        ("[scenario.x]", "own.toml:1: scenario: unknown table 'scenario'; did you mean scenarios?"),
        ("[scenarios.mine]\nrate = 3", "own.toml:1: [scenarios.mine] needs a summary"),
        (
            FIRST + "oders = 3",
            "own.toml:3: [scenarios.mine] oders: unknown key; did you mean orders?",
        ),
        (FIRST + "orders = 0", "own.toml:3: [scenarios.mine] orders: must be a whole number"),
        (FIRST + "orders = true", "must be a whole number"),
        (FIRST + 'orders = "5"', "must be a whole number"),
        (FIRST + "orders = 99999999", "must be a whole number from 1 to 10,000,000"),
        (FIRST + "rate = nan", "must be orders a second"),
        (FIRST + "rate = -1", "must be orders a second"),
        (FIRST + "rate = inf", "must be orders a second"),
        (FIRST + 'spike = "20x"', "'20x' is no spike; one looks like: 20x at=5s for=2s"),
        (FIRST + 'spike = "1x at=5s for=2s"', "'1x at=5s for=2s' is no spike"),
        (FIRST + 'spike = "2x at=5s for=0s"', "'2x at=5s for=0s' is no spike"),
        (
            FIRST + 'orders_from = "x"\nspike = "2x at=5s for=1s"',
            "own.toml:4: [scenarios.mine] spike: contradicts orders_from",
        ),
        (FIRST + 'worlds = ["simulatd"]', "unknown world 'simulatd'; did you mean simulated?"),
        (FIRST + 'patterns = ["dedup"]', "unknown pattern 'dedup'; did you mean dedupe?"),
        (FIRST + 'patterns = "dedupe"', "must be a list of texts, not 'dedupe'"),
        (FIRST + 'promises = ["effect-onc"]', "unknown promise 'effect-onc'; did you mean"),
        (FIRST + 'faults = ["bus.dupicate"]', "did you mean bus.duplicate?"),
        (FIRST + "faults = [3]", "must be a text, not 3"),
        (FIRST + "swarm = 1", "own.toml:3: [scenarios.mine] swarm: must be true or false, not 1"),
        (FIRST + 'goals = [""]', "must be a text, not ''"),
        (FIRST + "set = 3", "must be a table of settings, not 3"),
        (FIRST + 'set = { "retry.atempts_max" = 3 }', "did you mean retry.attempts_max?"),
        (FIRST + 'set = { "retry.attempts_max" = "x" }', "must be a whole number, not 'x'"),
        (
            FIRST + "[scenarios.mine.set]\nretry.attempts_max = 3",
            'set: put the name of a setting in quotes: "retry.attempts_max"',
        ),
        ("[scenarios.MINE]\nsummary = 'x'", "a name is made of a-z, 0-9 and -"),
        ("[scenarios.'../x']\nsummary = 'x'", "a name is made of a-z, 0-9 and -"),
        ("[scenarios]\nmine = 3", "must be a table"),
        ("[scenarios.mine", "not TOML"),
        (FIRST + FIRST, "not TOML"),
        (b"\xff\xfe", "not UTF-8 at byte 0"),
        (b"#" * 1_000_001, "is larger than 1,000,000 bytes"),
    ],
)
def test_a_wrong_file_is_refused_by_place_value_and_remedy(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    path = write(tmp_path, text)

    with pytest.raises(ScenarioError) as refused:
        load_file(path)

    assert message in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="is a directory"):
        load_file(tmp_path)
    with pytest.raises(ScenarioError, match="cannot read"):
        load_file(tmp_path / "none.toml")


def test_an_unknown_scenario_is_refused_with_the_nearest_name() -> None:
    catalogue = load_catalogue()

    with pytest.raises(ScenarioError, match=r"unknown scenario 'duplicats'; did you mean dupl"):
        find_scenario(catalogue, "duplicats")
    with pytest.raises(ScenarioError, match=r"unknown scenario 'zz' \(see: lab list\)"):
        find_scenario(catalogue, "zz")


def test_a_printed_scenario_reads_back_as_itself() -> None:
    shipped = tomllib.loads(resource_path("scenarios.toml").read_text("utf-8"))["scenarios"]

    for scenario in load_catalogue().values():
        printed = tomllib.loads(toml_of(scenario))
        assert printed == {"scenarios": {scenario.name: shipped[scenario.name]}}


@pytest.mark.parametrize(
    "text",
    [
        '[scenarios.mine]\nsummary = "a"\n\n[scenarios.mine.set]\n"retry.in_place" = 2\n',
        '[scenarios]\nmine.summary = "a"\nother.summary = "b"\n',
        '[ scenarios . mine ]  # spaced\nsummary = "a"\n[scenarios.other]\nsummary = "b"\n',
        'scenarios.mine = { summary = "a \\u007f \\"b\\"", orders = 3, rate = 0.5 }\n',
        '[scenarios.mine]\nsummary = "a"\nstory = """\n[scenarios.mine]\n"""\n',
    ],
)
def test_a_scenario_is_printed_whole_however_it_was_written(text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)

    (scenario,) = [one for one in load_file(file) if one.name == "mine"]

    printed = tomllib.loads(toml_of(scenario))
    assert printed == {"scenarios": {"mine": tomllib.loads(text)["scenarios"]["mine"]}}


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no file without an end here")
def test_a_scenario_file_without_an_end_is_refused() -> None:
    with pytest.raises(ScenarioError, match="/dev/zero is larger than"):
        load_file(Path("/dev/zero"))


@given(text=st.text(max_size=80) | st.text(max_size=80).map(lambda text: FIRST + text))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "own.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        load_file(path)
    except ScenarioError:
        return


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=5,
)


def as_toml(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_toml(str(k))} = {as_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(letter):08x}" for letter in value) + '"'
    return "'none'" if value is None else repr(value)


@given(
    key=st.sampled_from(KEYS.split()),
    value=VALUES,
)
def test_any_value_of_any_key_is_taken_or_refused(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "own.toml"
    summary = "" if key == "summary" else 'summary = "x"\n'
    path.write_text(f"[scenarios.mine]\n{summary}{key} = {as_toml(value)}\n", "utf-8")
    try:
        load_file(path)
    except ScenarioError as refused:
        assert "own.toml" in str(refused)  # noqa: PT017 - both ways are right


@pytest.mark.parametrize(
    ("goal", "told"),
    [
        ("hello", "is no goal"),
        ("bus.duplicat >= 1", "did you mean bus.duplicate?"),
        ("proc.crash@api.commit >= 1", "did you mean proc.crash@api."),
        ("retry >= 1", "did you mean retry.retried?"),
        ("retry.recoverd >= 1", "did you mean retry.recovered?"),
        ("fencing >= 1", "names nothing that can happen"),
    ],
)
def test_a_goal_that_can_never_be_reached_is_refused_by_file_and_line(
    goal: str, told: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'[scenarios.x]\nsummary = "a"\ngoals = ["{goal}"]\n')

    with pytest.raises(ScenarioError, match=re.escape(told)) as refused:
        load_file(file)

    assert str(refused.value).startswith(f"{file}:3: [scenarios.x] goals: ")
