"""The result page: the verdict first, everything that matters, readable anywhere."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from lab.cli import page_lines, render
from lab.report.result import Costs, OrderCounts, OrdersRead, Result, UnreadableOrder
from lab.report.seeds import seed_run, sum_up
from lab.scenarios.file_tally import RefusedField, RefusedOrder
from tests.kit.results import make_fail, make_result, make_unknown


def page(result: Result, *, width: int = 100) -> str:
    return render.to_text(render.result_page(result, width=width), width=width, is_plain=True)


def test_a_green_page_has_its_verdict_in_the_first_line_and_fits_a_screen() -> None:
    lines = page(make_result()).splitlines()

    assert lines[0].startswith("duplicates   simulated   seed 7   500 orders")
    assert lines[0].endswith("PASS  10 promises held")
    assert "digest 9f2c41e1" in lines[1]
    assert len(lines) <= 22
    assert max(map(len, lines)) <= 100


def test_a_green_page_says_what_was_not_exercised_and_what_was_idle() -> None:
    told = page(make_result())

    assert "Not exercised  idempotency-key, dlq-sound\n" in told
    assert "Not provoked   breaker\n" in told
    assert "Reached        bus.duplicate >= 4 % (96)\n" in told


def test_a_green_page_says_what_went_wrong_and_what_acted() -> None:
    told = " ".join(page(make_result()).split())

    assert "bus.duplicate 96 orders 3, 37, 41, ..." in told
    assert "dedupe 96 suppressed" in told
    assert "17 retried, 17 recovered" in told
    assert "CONFIRMED 451 REJECTED 31 DECLINED 18" in told


def test_a_page_shows_what_went_wrong_how_long_it_took_and_what_it_costs_without() -> None:
    ended = {"to_terminal_p50_ms": 160.0, "to_terminal_p95_ms": 320.0, "to_terminal_p99_ms": 440.0}
    metrics = {
        **make_result().metrics,
        **ended,
        "duplicates": 96.0,
        "duplicates_stopped": 90.0,
        "retries": 17.0,
        "timeouts": 0.0,
        "dead_letters": 2.0,
        "recovery_ms": 4_200.0,
    }
    calm = Costs(metrics={"calls_per_order": 2.0, **ended}, virtual_ms=10, digest="ab")

    told = page(replace(make_result(), metrics=metrics, without_faults=calm))

    wrong = "96 of 6,410 deliveries duplicates, 90 stopped   17 retries   2 dead letters"
    assert f"Went wrong     {wrong}" in told
    assert "p50/p95/p99 0.16s / 0.32s / 0.44s   recovered 4.20s after the last fault\n" in told
    assert "No faults      calls 2.0   p50/p95/p99 0.16s / 0.32s / 0.44s\n" in told


def test_a_promise_that_nobody_made_is_expected_to_break() -> None:
    red = make_fail()
    checks = tuple(replace(check, expected=check.verdict == "FAIL") for check in red.checks)

    told = page(
        replace(red, verdict="UNKNOWN", checks=checks, beyond_contract=("payment.key_mode=none",))
    )

    assert "UNKNOWN  beyond the contract: 1 of 10 promises broken" in told.splitlines()[0]
    assert "no-double-charge  expected" in told
    assert "FAIL" not in told


def test_a_red_page_shows_the_witness_why_and_how_to_run_it_again() -> None:
    told = page(make_fail())

    assert "FAIL  1 of 10 promises\n" in told.splitlines(keepends=True)[0]
    assert "no-double-charge  FAIL         500       3  order 37: 2 captures, at 4.210s" in told
    assert "Why            the second delivery of OrderValidated charged again" in told
    assert "Again          lab run duplicates --seed 7\n" in told
    assert told.index("no-double-charge") < told.index("effect-once")
    assert " off" in told


def test_a_narrow_page_keeps_its_witness_readable() -> None:
    lines = page(make_fail(), width=60).splitlines()

    assert "Witness        no-double-charge: order 37: 2 captures, at" in lines
    assert "no-double-charge  FAIL         500       3" in lines


def test_a_page_does_not_advise_what_was_just_done() -> None:
    done = "lab run duplicates --seed 7 --off dedupe,inbox"

    told = page(replace(make_fail(), reproduce=done))

    assert "Next           lab run duplicates --off dedupe\n" in told
    assert told.count("--off dedupe,inbox") == 1


def test_an_unknown_page_says_which_goal_was_missed() -> None:
    told = page(make_unknown())

    assert "UNKNOWN  this run proves nothing" in told.splitlines()[0]
    assert "Missed         bus.duplicate >= 4 % (happened 0 times)" in told


def test_a_partial_page_says_so_first() -> None:
    first = page(replace(make_result(), partial=True)).splitlines()[0]

    assert "INTERRUPTED" in first


def test_refused_orders_and_unreadable_lines_are_counted_by_reason() -> None:
    orders = OrderCounts(
        read=4_765,
        unreadable=4,
        submitted=4_761,
        accepted=3_361,
        refused=1_400,
        refused_by_reason={"sku_empty": 221, "quantity_below_1": 973, "unanswered": 1},
        by_state={"CONFIRMED": 3_361},
    )
    given = OrdersRead(
        rows=9_765,
        orders=4_761,
        unreadable=6,
        amounts={"EUR": 5_300, "JPY": 16},
        first_at="2026-04-05T10:00:00.000000Z",
        last_at="2026-04-06T10:00:00.000000Z",
        before_predecessor=1,
    )
    against = RefusedField("sku_empty", "items[0].sku", '""')
    refused = RefusedOrder(order=7, line=19, reasons=(against, against))
    lines = (
        UnreadableOrder(line=17, reason="not JSON"),
        UnreadableOrder(line=20, reason="not UTF-8"),
    )

    result = replace(make_result(), orders=orders, unreadable_lines=lines, input=given)

    told = " ".join(page(replace(result, refused_orders=(refused,))).split())

    assert (
        "Read 9,765 rows, 4,761 orders from 2026-04-05 to 2026-04-06; 53.00 EUR, 16 JPY accepted; "
        "1 order stands before the one above"
    ) in told
    assert (
        "Refused 1,399 of 4,761: quantity_below_1 973, sku_empty 221 (line 19: items[0].sku "
        '"" and 1 more; ...)'
    ) in told
    assert "Unanswered 1 of 4,761, and nothing is stored of them" in told
    assert "6 of 9,765 rows: line 17: not JSON; line 20: not UTF-8; ..." in told


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("make", [make_result, make_fail, make_unknown])
def test_a_page_fits_any_terminal_but_never_breaks_a_command(
    width: int, make: Callable[[], Result]
) -> None:
    result = replace(make(), reproduce="lab run duplicates " + "--off dedupe " * 20)

    lines = page(result, width=width).splitlines()

    commands = [line for line in lines if "lab run duplicates --off dedupe --off" in line]
    assert len(commands) == 1
    assert max(len(line) for line in lines if "lab run" not in line) <= width


def test_a_page_without_colour_is_plain_ascii() -> None:
    for make in (make_result, make_fail, make_unknown):
        told = page(make())
        assert told.isascii()
        assert "\x1b" not in told


def test_what_a_result_says_is_never_taken_for_markup() -> None:
    told = page(replace(make_fail(), why="[red]x[/red] [/] :smile:"))

    assert "[red]x[/red] [/] :smile:" in told


def test_many_seeds_have_a_line_each_and_a_summary() -> None:
    runs = [seed_run(make()) for make in (make_result, make_fail, make_unknown)]
    summary = sum_up("duplicates", runs, mode="real", seeds=9, is_partial=True)
    parts = [*map(render.seed_line, runs), *render.seeds_summary(summary)]

    lines = render.to_text(parts, width=100, is_plain=True).splitlines()

    assert lines[0] == "seed 7      PASS     digest 9f2c41e1   0.31s"
    assert lines[1].startswith("seed 7      FAIL     no-double-charge: order 37: 2 captures")
    assert lines[2] == "seed 7      UNKNOWN  not reached: bus.duplicate >= 4 %"
    assert lines[3].startswith("duplicates   real   3 seeds")
    assert "FAIL   1 PASS, 1 FAIL, 1 UNKNOWN INTERRUPTED after 3 of 9 seeds" in lines[3]
    assert "no-double-charge: 1 seed" in lines[4]
    assert lines[5].endswith("lab run duplicates --seed 7")


def test_a_run_without_a_digest_has_a_line_without_one() -> None:
    run = seed_run(replace(make_result(), digest=""))

    line = render.to_text([render.seed_line(run)], width=100, is_plain=True)

    assert line.rstrip() == "seed 7      PASS     0.31s"


@pytest.mark.parametrize(
    ("ms", "told"),
    [
        (0, "0.00s"),
        (310, "0.31s"),
        (62_000, "1m02s"),
        (59_999, "60.00s"),
        (18_180_000, "5h03m"),
        (7_714_800_000, "89d7h"),
    ],
)
def test_lengths_of_time_are_short(ms: float, told: str) -> None:
    assert page_lines.length(ms) == told
