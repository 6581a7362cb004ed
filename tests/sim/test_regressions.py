"""Runs that broke a promise once. Found by drawing random faults and policies, then made smaller.

One case for each mistake, with what it was. A new one comes first and fails, then the mending.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from lab import run

HEAVY = (
    "bus.duplicate rate=0.3",
    "bus.drop_ack rate=0.2",
    "proc.crash@any rate=0.003",
    "bus.poison rate=0.005",
    "client.cancel rate=0.1",
    "client.retry_same_key rate=0.1",
    "svc.hang_after_effect rate=0.05",
    "proc.term@payment at=2s",
    "proc.term@notification rate=0.01",
)

STORES = tuple(
    f"{kind} rate=0.05"
    for kind in (
        "pg.deadlock",
        "pg.serialization",
        "pg.conn_loss_before_commit",
        "pg.conn_loss_after_commit",
        "pg.pool_exhausted",
        "pg.slow",
        "redis.slow",
        "redis.evict",
        "redis.early_expire",
    )
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run; `what` the mistake was."""

    what: str
    seed: int
    orders: int
    rate: float
    faults: tuple[str, ...]
    policies: Mapping[str, object] = field(default_factory=dict)
    scenario: str = "happy-path"


CASES = (
    Case(
        what="a stop abandoned the duplicate behind a handler that it had cancelled",
        scenario="timeouts",
        seed=90,
        orders=80,
        rate=30,
        faults=HEAVY,
    ),
    Case(
        what="a stop abandoned started records that waited for a free worker at its deadline",
        seed=446,
        orders=4,
        rate=5,
        faults=("svc.timeout first=2", "proc.term@notification at=2560ms"),
        policies={"bus.workers": 2},
    ),
    Case(
        what="a stop abandoned an order's later event behind a handler that it had cancelled",
        seed=353,
        orders=12,
        rate=5,
        faults=("svc.timeout@mailer rate=1 at=1s for=40s", "proc.term@notification at=3624ms"),
        policies={"drain.grace_ms": 500},
    ),
    Case(
        what="with one attempt allowed, who died before its dead letter was thought to have none",
        seed=464,
        orders=1,
        rate=200,
        faults=(
            "svc.error#1 rate=0.529 status=500",
            "proc.crash@dlq.before_publish first=1",
        ),
        policies={"retry.attempts_max": 1},
    ),
    Case(
        what="a poisoned record that the relay published again after heal was clean",
        seed=1260,
        orders=2,
        rate=5,
        faults=("bus.poison rate=0.1844", "proc.crash@relay.after_publish#1-5 first=1"),
        policies={"run.restart_ms": 5000},
    ),
    Case(
        what="each probe was a request whose failure was stored: the breaker stayed open",
        seed=2988,
        orders=3,
        rate=5,
        faults=("svc.error@mailer first=5 status=500 stored=yes",),
    ),
    Case(
        what="a process that stood still while its work was done again had not stopped gracefully",
        seed=632,
        orders=20,
        rate=5,
        faults=(
            "proc.term@validation at=2540ms",
            "proc.pause@validation-1 at=1143ms for=60s",
            "proc.pause rate=0.02 by=70s",
        ),
        policies={"run.members": 3, "bus.workers": 1, "run.restart_ms": 5000},
    ),
    Case(
        what="a dependency was called down because old successes had left the window",
        seed=2384,
        orders=20,
        rate=200,
        faults=("svc.timeout@mailer#1-5 first=7",),
    ),
    Case(
        what="an event given up after the declared time of being throttled was not parked lawfully",
        seed=1,
        orders=4,
        rate=5,
        faults=("svc.error@warehouse rate=1 at=0s for=60s status=429",),
        policies={"retry.max_elapsed_ms": 31_000},
    ),
    Case(
        what="with a short grace a stop took a second more to cancel, and was not in time",
        seed=552,
        orders=1,
        rate=10,
        faults=("proc.term@validation rate=0.0027", "pg.shutdown at=29ms for=13118ms"),
        policies={"drain.grace_ms": 500},
    ),
    Case(
        what="with a short grace and no broker the last commit was tried for ever in one moment",
        seed=837,
        orders=20,
        rate=10,
        faults=("bus.down at=167ms for=36827ms", "proc.term@payment at=894ms"),
        policies={"drain.grace_ms": 500},
    ),
    Case(
        what="who could not publish the letter of a dead event again tried for ever in one moment",
        seed=3360,
        orders=16,
        rate=10,
        faults=(
            "bus.drop_ack#every3 first=1",
            "bus.poison#every15 first=1",
            "bus.partition rate=0.0189 by=822ms..20398ms",
            "proc.crash@relay.after_publish rate=0.0279",
            "proc.crash@dlq.after_publish rate=0.0116 at=2675ms for=24014ms",
            "pg.pool_exhausted rate=0.1258 at=1399ms for=34269ms",
        ),
        policies={"outbox.batch": 1},
    ),
    Case(
        what="an attempt was forgotten because the order store was down when it was to be parked",
        seed=5136,
        orders=3,
        rate=10,
        faults=(
            "bus.down at=635ms for=512ms",
            "svc.flapping down=2880ms status=502",
            "pg.pool_exhausted rate=0.0342",
            "client.cancel rate=0.0071 at=43ms for=39628ms",
        ),
        policies={"retry.tiers_ms": "1000"},
    ),
    Case(
        what="a stop gave up what it could not move to the retry path at the first try",
        seed=20,
        orders=12,
        rate=20,
        faults=("pg.deadlock rate=0.3", "proc.term@payment at=500ms"),
    ),
    Case(
        what="an event that a stop moved to the retry path did not wait for what was left",
        seed=34,
        orders=12,
        rate=20,
        faults=("pg.serialization rate=0.3", "proc.term@payment at=2s"),
    ),
    Case(
        what="what could not be parked was tried again in place and had not said so",
        seed=5,
        orders=30,
        rate=20,
        faults=(*STORES, *HEAVY),
    ),
    Case(
        what="a stop abandoned what was done because the claim of its cancelled run was still held",
        seed=405,
        orders=30,
        rate=20,
        faults=("redis.slow rate=0.3", *HEAVY),
    ),
    Case(
        what="after a rebalance a head was tried too early: its delay began before its run",
        seed=3,
        orders=19,
        rate=20,
        faults=(
            "bus.rebalance rate=0.05",
            "bus.duplicate rate=0.1",
            "svc.slow rate=0.1 by=1s..9s",
            "svc.late_reply rate=0.1",
            "svc.flapping@mailer down=2s up=3s",
            "pg.deadlock rate=0.05",
            "pg.conn_loss_after_commit rate=0.05",
            "pg.slow rate=0.1",
            "proc.pause@payment rate=0.03 by=20s",
            "proc.pause@notification rate=0.02 by=60s",
        ),
    ),
    Case(
        what="who was cut off from the broker when it stopped was blamed for what it gave up",
        seed=6097,
        orders=15,
        rate=10,
        faults=(
            "bus.partition#every3 first=3",
            "bus.down at=51ms for=3473ms",
            "proc.term@validation#every15 first=1",
            "redis.down at=4478ms for=6030ms",
        ),
        policies={"retry.budget_tokens": 3, "dedupe.when_down": "closed", "outbox.shards": 2},
    ),
    Case(
        what="a stop in the middle of a rebalance was not over when its partitions were taken",
        seed=1880,
        orders=18,
        rate=10,
        faults=(
            "bus.rebalance rate=0.0842",
            "bus.down at=8ms for=3187ms",
            "svc.late_reply rate=0.1097",
            "proc.term@validation at=4959ms",
        ),
        policies={"drain.grace_ms": 4000},
    ),
    Case(
        what="a stop gave up the dead event whose letter the limiter held back",
        seed=19767,
        orders=12,
        rate=10,
        faults=(
            "bus.publish_unknown rate=0.0396",
            "svc.flapping@antifraud down=4952ms status=502",
            "proc.term rate=0.0024",
            "proc.pause@relay at=2ms for=1743ms",
            "pg.slow rate=0.0380 at=2336ms for=20726ms by=85ms..112ms",
        ),
        policies={"retry.attempts_max": 1},
    ),
    Case(
        what="a rebalance under way kept a stop without a broker waiting for its last commit",
        seed=11061,
        orders=20,
        rate=10,
        faults=(
            "bus.rebalance#every17 first=2",
            "bus.partition rate=0.0134 by=2155ms..69181ms",
            "proc.term#every7 first=1",
            "pg.serialization#every4 first=2",
        ),
        policies={"drain.grace_ms": 4000},
    ),
    Case(
        what="who had lost its partitions when it was told to stop was blamed for the rebalance",
        seed=15524,
        orders=9,
        rate=10,
        faults=(
            "proc.crash@consumer.after_fetch#every2 first=1",
            "proc.term@validation at=4059ms",
            "pg.deadlock rate=0.0521",
        ),
        policies={"run.members": 3},
    ),
    Case(
        what="what the operator sent back had no time left to kill its process often enough",
        seed=12352,
        orders=5,
        rate=10,
        faults=(
            "proc.crash@api.after_commit rate=0.0409 at=3024ms for=37375ms",
            "proc.crash_loop@notification#every2 first=2",
        ),
        policies={"operator.redrives": 2},
    ),
    Case(
        what="our own store was taken for a third party that nobody may call while it is down",
        seed=20018,
        orders=1,
        rate=10000,
        faults=("pg.pool_exhausted rate=0.4656 at=0ms for=24ms",),
        policies={"breaker.calls_min": 1},
    ),
    Case(
        what="a stop was blamed for what the order store refused to the last",
        seed=30091,
        orders=13,
        rate=1,
        faults=(
            "proc.term rate=0.0660",
            "pg.conn_loss_after_commit@payment#1-5 rate=1.0000",
        ),
    ),
    Case(
        what="a stop was blamed for what could neither be noted nor moved",
        seed=30473,
        orders=13,
        rate=1,
        faults=("proc.term rate=0.0660", "pg.pool_exhausted@payment#1-5 rate=1.0000"),
    ),
    Case(
        what="an event that a flushed Redis had forgotten was not to be taken over",
        seed=9195,
        orders=16,
        rate=10,
        faults=(
            "bus.down at=2112ms for=6252ms",
            "svc.error@payment_gateway rate=0.0440 status=503 stored=no",
            "redis.down at=3780ms for=595ms",
            "redis.early_expire rate=0.1710 after=1ms..284ms",
            "pg.pool_exhausted rate=0.1773",
            "client.double_submit#every15 first=1",
        ),
        policies={"dedupe.when_down": "closed"},
    ),
    Case(
        what="a lost answer on the way to the handler was an attempt: it died and was tried once",
        seed=1,
        orders=1,
        rate=10,
        faults=(
            "svc.error@warehouse first=1",
            "pg.conn_loss_after_commit@validation nth=3",
            "proc.crash@dlq.before_publish first=1",
        ),
        policies={"retry.attempts_max": 2},
    ),
    Case(
        what="a stop asked a dedupe store that was down about an event that was done",
        seed=1,
        orders=1,
        rate=10,
        faults=(
            "bus.duplicate@validation first=1",
            "redis.down at=10ms for=60s",
            "proc.term@validation at=300ms",
        ),
        policies={"dedupe.when_down": "closed"},
    ),
    Case(
        what="a run that had failed when it was cancelled left its claim, and counted no attempt",
        seed=3,
        orders=1,
        rate=10,
        faults=("svc.error@mailer first=1 stored=yes", "proc.cancel@notification first=1"),
    ),
    Case(
        what="an attempt at a head was forgotten because the order store was down afterwards",
        seed=1,
        orders=1,
        rate=10,
        faults=(
            "svc.error@mailer first=1 stored=yes",
            "pg.pool_exhausted@notification rate=1 at=1155ms for=200ms",
        ),
        policies={"retry.tiers_ms": "1000"},
    ),
    Case(
        what="the second order of a double click was spoiled by a fault that is told of the first",
        seed=1,
        orders=3,
        rate=10,
        faults=("bus.poison first=1", "client.double_submit first=1"),
    ),
    Case(
        what="who stood still until its partitions were another one's was blamed when it stopped",
        seed=51841,
        orders=2,
        rate=5,
        faults=("proc.pause@notification first=1 by=40s", "proc.term@notification at=22ms"),
        policies={"run.members": 2},
    ),
)


@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
def test_what_was_mended_stays_mended(case: Case) -> None:
    for order in ("fifo", "shuffle"):
        result = run(
            case.scenario,
            seed=case.seed,
            orders=case.orders,
            rate=case.rate,
            faults=case.faults,
            settings={"run.order": order, **case.policies},
        )

        assert [check.witness for check in result.checks if check.verdict == "FAIL"] == []


def test_an_event_is_throttled_by_a_claim_too_and_a_run_that_is_cancelled_ends_no_wait() -> None:
    # It gives up ten minutes after it found its claim taken, half a minute before its first run.
    faults = (
        "svc.error@mailer rate=1 status=429 at=1ms for=700s",
        "proc.cancel@notification rate=0.2",
        "pg.slow@notification rate=0.1 by=12s",
    )

    result = run("happy-path", orders=5, faults=faults)

    assert [check.witness for check in result.checks if check.verdict == "FAIL"] == []


def test_an_order_is_remembered_however_soon_dedupe_forgets_its_events() -> None:
    # Alarms come minutes after their event was done: no third party answers in time.
    policies = {"bus.partitions": 2, "dedupe.window_ms": 30_001}
    silent = [f"svc.timeout@{name} rate=0.8" for name in ("warehouse", "payment_gateway", "mailer")]

    result = run("happy-path", seed=1885, orders=40, rate=20, settings=policies, faults=silent)

    (sound,) = (check for check in result.checks if check.name == "dedupe-sound")
    assert (sound.verdict, sound.witness) == ("PASS", "")


def test_a_run_waits_for_an_expiry_whose_commit_is_lost_again_and_again() -> None:
    # Everything else is done by then: the event of an order that is too old is acknowledged.
    faults = (
        "proc.pause@validation at=0ms for=2s",
        "pg.conn_loss_before_commit@orders first=3",
    )

    result = run("happy-path", orders=1, faults=faults, settings={"orders.expiry_ms": 400})

    assert [check.name for check in result.checks if check.verdict == "FAIL"] == []
    assert result.orders.by_state == {"EXPIRED": 1}


@pytest.mark.parametrize(
    ("seed", "orders"),
    [
        (404824, 45),  # A wait that could not be parked, cut short by a rebalance.
        (406842, 42),  # An expiry that was due when everything else had come to its end.
        (408225, 22),  # A handler at its own deadline, and no third party to blame.
        (409470, 34),  # A long hint whose retry topic did not take the event at once.
        (410449, 38),  # Attempts before a redrive, held against those behind it.
        (411146, 57),  # As 409470, by an answer that was lost.
        (413363, 57),  # Starts that could not be explained while the store was away.
        (12693, 34),  # As 404824, and a start that nobody explained counted the attempt.
        (18097, 27),  # The copy of an alarm, behind the handler of its own key.
        (2236, 18),  # A first attempt in the instant in which a later one ended, by a rebalance.
        (985, 76),  # A copy that could not be parked, in a record that names an earlier attempt.
        (2234, 80),  # A copy that waited behind its own key, which waited in place.
        (1637, 55),  # A retry behind the copy of another, whose event waited in a longer tier.
    ],
)
def test_a_seed_that_once_broke_a_promise_breaks_none(seed: int, orders: int) -> None:
    result = run("everything", seed=seed, orders=orders)

    assert [check.name for check in result.checks if check.verdict == "FAIL"] == []
