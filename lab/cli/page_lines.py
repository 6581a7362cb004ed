"""The lines below the tables of the result page, as labels and plain text.

Not here: their looks (`render`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from lab.checks.check import times
from lab.domain.currency import in_major_units
from lab.report.result import OrdersRead, Result
from lab.scenarios.file_tally import RefusedField

_SHOWN_UNREADABLE: Final = 3
_HELD_SHOWN: Final = 12
"""More names of promises that held say less than their number."""

_COUNTED: Final = (
    ("retries", "retries"),
    ("timeouts", "timeouts"),
    ("dead_letters", "dead letters"),
    ("shed", "requests shed"),
)
_LATENCIES: Final = ("p50", "p95", "p99")


def lines_of(result: Result) -> Iterable[tuple[str, str]]:
    """Everything else about a run, line by line."""
    yield from _about_promises(result)
    yield from _about_orders(result)
    yield from _about_cost(result)
    goals = [goal for goal in result.goals if goal.applicable]
    reached = [f"{goal.goal} ({goal.count:,})" for goal in goals if goal.reached]
    missed = [f"{goal.goal} (happened {goal.count:,} times)" for goal in goals if not goal.reached]
    senseless = [goal.goal for goal in result.goals if not goal.applicable]
    if missed:
        yield "Missed", "; ".join(missed)
    if reached:
        yield "Reached", "; ".join(reached)
    if senseless:
        yield "No goal", f"{'; '.join(senseless)}: only a part that is off could reach it"
    if result.never_fired:
        yield "Never fired", "; ".join(result.never_fired)
    if result.why:
        yield "Why", result.why
    for note in result.notes:
        yield "Note", note
    if result.kept:
        topics = result.kept.replace("_", "-")
        yield "Kept", f"schema {result.kept}, topics {topics}.*, keys {result.kept}:*"
    if result.run_dir:
        yield "Files", result.run_dir


def _about_promises(result: Result) -> Iterable[tuple[str, str]]:
    held = [check.name for check in result.checks if check.verdict == "PASS" and not check.at_risk]
    if len(held) > _HELD_SHOWN:
        yield "Also held", f"all {len(held)} others that were exercised"
    elif held:
        yield "Also held", ", ".join(held)
    idle = [use.name for use in result.patterns if use.on and not any(use.acted.values())]
    unused = list(result.not_exercised)
    if unused:
        yield "Not exercised", ", ".join(unused)
    if idle:
        is_every_one = len(idle) == len(result.patterns)
        yield (
            "Not provoked",
            f"any of the {len(idle)} patterns" if is_every_one else ", ".join(idle),
        )


def _about_orders(result: Result) -> Iterable[tuple[str, str]]:
    orders = result.orders
    if result.input is not None:
        yield "Read", _read(result.input)
    states = "  ".join(f"{state} {count:,}" for state, count in orders.by_state.items() if count)
    yield "Orders", "   ".join(filter(None, (f"{orders.accepted:,} accepted", states)))
    unanswered = orders.refused_by_reason.get("unanswered", 0)
    if orders.refused > unanswered:
        reasons = sorted(orders.refused_by_reason.items(), key=lambda one: (-one[1], one[0]))
        listed = ", ".join(f"{why} {count:,}" for why, count in reasons if why != "unanswered")
        refused = orders.refused - unanswered
        first = _first_refused(result, refused)
        yield "Refused", f"{refused:,} of {orders.submitted:,}: {listed}{first}"
    if unanswered:
        yield "Unanswered", f"{unanswered:,} of {orders.submitted:,}, and nothing is stored of them"
    if orders.unreadable:
        lines = [f"line {bad.line}: {bad.reason}" for bad in result.unreadable_lines]
        more = "; ..." if orders.unreadable > _SHOWN_UNREADABLE else ""
        shown = "; ".join(lines[:_SHOWN_UNREADABLE])
        given = result.input
        assert given is not None, "only a file has unreadable lines"
        rows = times(given.rows, "row")
        yield "Unreadable", f"{given.unreadable:,} of {rows}: {shown}{more}"


def _read(given: OrdersRead) -> str:
    """`3 rows, 2 orders from 2026-04-05 to 2026-04-06, EUR 53.00 accepted`."""
    rows, orders = times(given.rows, "row"), times(given.orders, "order")
    span = ""
    if given.first_at:
        days = (given.first_at[:10], given.last_at[:10])
        span = f" of {days[0]}" if days[0] == days[1] else f" from {days[0]} to {days[1]}"
    money = ", ".join(in_major_units(cents, name) for name, cents in given.amounts.items())
    back = given.before_predecessor
    late = f"; {times(back, 'order')} {'stands' if back == 1 else 'stand'} before the one above"
    return f"{rows}, {orders}{span}; {money or 'nothing'} accepted{late if back else ''}"


def _first_refused(result: Result, refused: int) -> str:
    """Where the file has the first refused orders."""
    lines = [f"line {one.line}: {_against(one.reasons)}" for one in result.refused_orders]
    more = "; ..." if refused > len(lines) else ""
    return f" ({'; '.join(lines)}{more})" if lines else ""


def _against(reasons: Sequence[RefusedField]) -> str:
    """The first field with what stands there, and how many more there are."""
    first, more = reasons[0], len(reasons) - 1
    named = f"{first.field} {first.value}".strip() or first.reason
    return f"{named} and {more:,} more" if more else named


def _about_cost(result: Result) -> Iterable[tuple[str, str]]:
    """The costs of the run, beside those of the same load when nothing goes wrong."""
    metrics = result.metrics
    happened = _happened(metrics)
    if happened:
        yield "Went wrong", happened
    costs, latencies = _per_order(metrics), _to_the_end(metrics)
    if costs:
        yield "Per order", costs
    if latencies:
        yield "To the end", f"{latencies}{_recovery(result)}"
    if result.without_faults is not None:
        calm = result.without_faults.metrics
        yield "No faults", "   ".join(filter(None, (_per_order(calm), _to_the_end(calm))))


def _happened(metrics: Mapping[str, float]) -> str:
    """Duplicates, retries, timeouts and the like, as far as there were any."""
    parts = []
    duplicates, stopped = (metrics.get(name, 0) for name in ("duplicates", "duplicates_stopped"))
    if duplicates:
        how = "all" if stopped == duplicates else f"{stopped:,.0f}" if stopped else "none"
        deliveries = metrics["deliveries"]
        parts.append(f"{duplicates:,.0f} of {deliveries:,.0f} deliveries duplicates, {how} stopped")
    parts += [f"{metrics[name]:,.0f} {unit}" for name, unit in _COUNTED if metrics.get(name)]
    return "   ".join(parts)


def _per_order(metrics: Mapping[str, float]) -> str:
    return "   ".join(
        f"{name.removesuffix('_per_order')} {metrics[name]:.1f}"
        for name in metrics
        if name.endswith("_per_order")
    )


def _to_the_end(metrics: Mapping[str, float]) -> str:
    names = [f"to_terminal_{part}_ms" for part in _LATENCIES]
    if not all(name in metrics for name in names):
        return ""
    return f"{'/'.join(_LATENCIES)} {' / '.join(length(metrics[name]) for name in names)}"


def _recovery(result: Result) -> str:
    """How long it took until the last order that a fault could have hit was at its end."""
    ms = result.metrics.get("recovery_ms", 0)
    return (
        f"   recovered {length(ms)} after the last fault"
        if ms and any(fault.fired for fault in result.faults)
        else ""
    )


def length(ms: float) -> str:
    """A length of time with two units at most: `0.31s`, `1m02s`, `5h03m`, `89d7h`."""
    seconds = ms / 1_000
    if seconds < 60:
        return f"{seconds:.2f}s"
    whole = round(seconds)
    if whole < 3_600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86_400:
        return f"{whole // 3_600}h{whole % 3_600 // 60:02}m"
    return f"{whole // 86_400:,}d{whole % 86_400 // 3_600}h"
