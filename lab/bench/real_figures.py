"""The figures of `lab bench --real`, each a pure function of the measurements.

Not here: measuring (`real_rounds`), and the class of a figure (`figures`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from lab.bench.baselines import raw_asgi
from lab.bench.figures import Figure, at_least, at_most, make_figure, of_part
from lab.bench.latency import Latency
from lab.bench.parts import REAL, usual
from lab.bench.real_kafka import HANDLER_S, KEYS, PARTITIONS, WORKERS
from lab.bench.real_postgres import CALLERS
from lab.bench.real_redis import HANDLERS
from lab.bench.real_rounds import RealRound, RealSizes
from lab.bench.real_verdict import VerdictTime

USUAL: Final = usual(REAL)
VERDICT_ORDERS: Final = 200
"""The whole run has a goal for so many orders only."""


def all_of(
    rounds: Sequence[RealRound], verdict: VerdictTime | None, parts: Collection[str] = USUAL
) -> tuple[Figure, ...]:
    """Every figure of these parts, in the order in which they are shown.

    Args:
        rounds: at least one.
        verdict: of the whole run; None if the part `run` is not wanted.
        parts: names of `lab.bench.parts.REAL`.
    """
    made: Mapping[str, Callable[[Sequence[RealRound]], tuple[Figure, ...]]] = {
        "kafka": lambda rounds: (events(rounds), hops(rounds)),
        "postgres": lambda rounds: (lives(rounds),),
        "redis": lambda rounds: (keys(rounds), claims(rounds)),
        "http": lambda rounds: (posts(rounds),),
        "run": lambda rounds: () if verdict is None else (run(verdict, rounds[0].sizes.load_s),),
        "workers": lambda rounds: (workers(rounds),),
    }
    return tuple(
        figure
        for part, make in made.items()
        if part in parts
        for figure in of_part(part, make(rounds))
    )


def prototypes(sizes: RealSizes, parts: Collection[str] = USUAL) -> tuple[Figure, ...]:
    """The figures that these parts have: names, units and goals; the numbers are none."""
    ones: dict[str, Any] = dict.fromkeys(RealRound.__struct_fields__, 1.0)
    ones |= {"sizes": sizes, "disorders_raw": 0, "lives_by": "", "keys_by": ""}
    run = VerdictTime(
        real_s=1.0,
        simulated_s=1.0,
        orders=sizes.orders,
        rate=1.0,
        latency=Latency(p50_ms=0, p95_ms=0, p99_ms=0, max_ms=0, orders_per_s=0, how=""),
    )
    return all_of([RealRound(**ones)], run, parts)


def events(rounds: Sequence[RealRound]) -> Figure:
    """The speed of one consumer process when each event waits for something else."""
    count = rounds[0].sizes.events
    disorders = max(one.disorders_raw for one in rounds)
    return make_figure(
        "Kafka, events handled",
        [(one.events, one.events_raw) for one in rounds],
        unit="1/s",
        against=f"bare aiokafka with as many handlers and no such promise; {disorders:,} of its "
        f"{count:,} events did not wait for the one before them",
        goal=at_least(5_000, of="value"),
        how=f"at least once and in the order of keys, one process, {HANDLER_S * 1_000:g} ms a "
        f"handler, {WORKERS} at once; {count:,} events of {KEYS} keys over {PARTITIONS} "
        "partitions, all in order and committed",
    )


def hops(rounds: Sequence[RealRound]) -> Figure:
    """The cost of three consumer groups and of publishing between them."""
    return make_figure(
        "Kafka, three hops",
        [(one.hops, one.hops_raw) for one in rounds],
        unit="1/s",
        against="the same bytes by bare aiokafka: send() a poll's records, commit the poll",
        goal=at_least(0.15),
        how=f"{rounds[0].sizes.hops:,} orders over three topics in one process: each event is "
        "decoded, and settled when the broker has the next one",
    )


def lives(rounds: Sequence[RealRound]) -> Figure:
    """The gain of putting units of work together."""
    one = rounds[0]
    return make_figure(
        "PostgreSQL, lives of orders",
        [(each.lives, each.lives_raw) for each in rounds],
        unit="1/s",
        against=f"the same in plain statements with a commit each, by {one.lives_by}",
        goal=at_least(2.5),
        how=f"{one.sizes.lives:,} confirmed orders: every look and unit of work of API, relay and "
        f"four services, {min(CALLERS, one.sizes.lives):,} callers",
    )


def keys(rounds: Sequence[RealRound]) -> Figure:
    """Both phases of a key in the dedupe store."""
    one = rounds[0]
    return make_figure(
        "Redis, keys deduplicated",
        [(each.keys, each.keys_raw) for each in rounds],
        unit="1/s",
        against=one.keys_by,
        goal=at_least(0.5),
        how=f"{one.sizes.keys:,} keys claimed under a lease and then completed, {HANDLERS} "
        "handlers in one process",
    )


def claims(rounds: Sequence[RealRound]) -> Figure:
    """The first phase alone: the cost of a duplicate."""
    one = rounds[0]
    return make_figure(
        "Redis, keys claimed",
        [(each.claims, each.keys_raw) for each in rounds],
        unit="1/s",
        against=one.keys_by,
        how="the same without the second phase, which a duplicate does not have",
    )


def posts(rounds: Sequence[RealRound]) -> Figure:
    """The work of the API before anything is stored."""
    return make_figure(
        "HTTP, orders posted",
        [(one.posts, one.posts_raw) for one in rounds],
        unit="1/s",
        against="a bare ASGI app on the same server",
        goal=at_least(0.5),
        how=f"{rounds[0].sizes.posts:,} orders under an Idempotency-Key each, a store that keeps "
        f"nothing, {raw_asgi.CONNECTIONS} connections; a process for each app",
    )


def run(verdict: VerdictTime, load_s: float = 0.0) -> Figure:
    """The wait of a person who types the command; a load of another length has another name."""
    orders = verdict.orders
    goal = at_most(10, of="value") if orders == VERDICT_ORDERS and not load_s else None
    return make_figure(
        "lab run happy-path --real" + (f", {load_s:g} s of orders" if load_s else ""),
        [(verdict.real_s, verdict.simulated_s)],
        unit="s",
        against="the same run simulated",
        goal=goal,
        how=f"{orders} orders at {verdict.rate:g} a second, from the command to its verdict, once; "
        "servers up, a new process",
    )


def workers(rounds: Sequence[RealRound]) -> Figure:
    """The gain of a second process beside each worker."""
    return make_figure(
        "orders through, two workers",
        [(one.two_workers, one.one_worker) for one in rounds],
        unit="1/s",
        against="one member of each consumer group",
        how=f"{rounds[0].sizes.flood:,} orders of happy-path --real, posted faster than they are "
        "handled, two members of each consumer group; API and relay are one process both times; "
        "from the first order due to the end of the last",
    )
