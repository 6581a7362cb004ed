"""Policies: every wrong name or value is refused by name, contradictions before a run."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.settings import (
    SIMULATED,
    WALL_CLOCK,
    SettingError,
    environment,
    parse_value,
    settings_for,
)
from lab.settings_table import SETTINGS


@pytest.mark.parametrize("profile", [SIMULATED, WALL_CLOCK])
def test_the_defaults_of_a_profile_do_not_contradict_each_other(profile: str) -> None:
    settings = settings_for("simulated" if profile == SIMULATED else "wall-clock")

    settings.check()

    assert set(settings.values) == {setting.name for setting in SETTINGS}


@pytest.mark.parametrize("profile", ["simulated", "wall_clock"])
def test_every_default_is_a_value_that_the_setting_takes(profile: str) -> None:
    for setting in SETTINGS:
        assert parse_value(setting.name, getattr(setting, profile)) == getattr(setting, profile)


def test_every_setting_is_explained_once() -> None:
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)
    assert all(setting.meaning for setting in SETTINGS)
    assert all(setting.unit == "ms" for setting in SETTINGS if setting.name.endswith("_ms"))


def test_changes_are_texts_or_values_and_leave_the_original_alone() -> None:
    before = settings_for("simulated")

    after = before.with_changes(
        {
            "retry.attempts_max": "3",
            "retry.tiers_ms": "500,2000",
            "retry.budget_refill": 0.5,
            "dedupe.when_down": "closed",
        }
    )

    assert after.number("retry.attempts_max") == 3
    assert after.many_us("retry.tiers_ms") == (500_000, 2_000_000)
    assert after.real("retry.budget_refill") == 0.5
    assert after.text("dedupe.when_down") == "closed"
    assert after.us("retry.base_ms") == 100_000
    assert before.number("retry.attempts_max") == 6


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "retry.atempts_max",
            "3",
            r"unknown setting 'retry.atempts_max'; did you mean retry.attempts_max\?",
        ),
        ("zzzzzz", "3", "unknown setting 'zzzzzz' "),
        ("retry.attempts_max", "three", "must be a whole number, not 'three'"),
        ("retry.attempts_max", "2.5", "must be a whole number"),
        ("retry.attempts_max", "0", "must be at least 1"),
        ("retry.attempts_max", "-1", "must be at least 1"),
        ("bus.partitions", "1e15", "must be at most 1,000, not '1e15'"),
        ("breaker.open_ms", 99, "must be at least 100"),
        ("outbox.shards", 1_001, "must be at most 1,000"),
        ("bus.workers", 1_001, "must be at most 1,000"),
        ("run.members", 101, "must be at most 100"),
        ("dedupe.phases", 3, "must be at most 2"),
        ("payment.declined_percent", 101, "must be at most 100"),
        ("orders.expiry_ms", 1e12, "must be at most 315,360,000,000"),
        ("retry.attempts_max", 10**15, "must be at most 1,000,000,000"),
        ("retry.attempts_max", "nan", "must be a whole number"),
        ("retry.attempts_max", "1e400", "must be a whole number"),
        ("retry.attempts_max", True, "must be a whole number"),
        ("retry.attempts_max", None, "must be a whole number"),
        ("retry.attempts_max", [3], "must be a whole number"),
        ("retry.budget_refill", "inf", "must be a number"),
        ("retry.tiers_ms", "", "must be a whole number"),
        ("retry.tiers_ms", "5,x", "must be a whole number"),
        ("retry.tiers_ms", [], "must be a list"),
        ("retry.tiers_ms", 5, "must be a list"),
        ("dedupe.when_down", "ajar", "must be one of open, closed"),
        ("dedupe.when_down", 1, "must be one of open, closed"),
    ],
)
def test_a_wrong_name_or_value_is_refused_with_a_remedy(
    name: str, value: object, message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        parse_value(name, value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"timeout.handler_ms": 60_000},
            "timeout.handler_ms = 60000 must be below dedupe.lease_ms",
        ),
        ({"dedupe.lease_ms": 45_000}, "must be below bus.session_ms"),
        ({"retry.max_elapsed_ms": 30_000}, "must be below retry.max_elapsed_ms"),
        ({"drain.grace_ms": 90_000}, "must be below bus.rebalance_ms"),
        ({"timeout.provider_ms": 10_000}, "must be below timeout.handler_ms"),
        ({"run.drain_ms": 1_000}, "shorter than retry.tiers_ms, "),
        ({"provider_key.lifetime_ms": 1_000}, "raise provider_key.lifetime_ms"),
        ({"payment.latency_ms": 2_000}, "must be below timeout.provider_ms"),
        ({"validation.latency_ms": 2_000}, "must be below timeout.provider_ms"),
        ({"mailer.latency_ms": 10**9}, "must be below timeout.provider_ms"),
        ({"run.restart_ms": 900_000}, r"raise run.drain_ms or lower run.restart_ms \(900000 ms\)"),
        ({"bus.commit_after_ms": 900_000}, r"or lower bus.commit_after_ms \(900000 ms\)"),
        ({"bus.session_ms": 900_000}, r"or lower bus.session_ms \(900000 ms\)"),
        ({"breaker.open_ms": 900_000}, r"or lower breaker.open_ms \(900000 ms\)"),
        ({"run.drain_ms": 200_000}, "shorter than retry.tiers_ms, bus.session_ms"),
    ],
)
def test_policies_that_contradict_each_other_are_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        settings_for("simulated").with_changes(changes)


def test_an_order_may_expire_sooner_than_its_events_are_given_up() -> None:
    settings = settings_for("simulated").with_changes({"orders.expiry_ms": 1})

    assert settings.us("orders.expiry_ms") == 1_000


@given(
    name=st.sampled_from([setting.name for setting in SETTINGS]) | st.text(),
    value=st.text() | st.integers() | st.floats() | st.booleans() | st.none() | st.lists(st.text()),
)
def test_any_value_is_taken_or_refused_with_a_message(name: str, value: object) -> None:
    with contextlib.suppress(SettingError):
        assert isinstance(parse_value(name, value), int | float | str | tuple)


def test_the_environment_is_what_lab_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_SEED", "7")
    monkeypatch.setenv("LAB_ORDERS", "  ")
    monkeypatch.setenv("MYLAB_RATE", "3")

    found = environment()

    assert found["SEED"] == "7"
    assert "ORDERS" not in found
    assert "RATE" not in found
