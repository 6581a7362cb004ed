"""A round on real servers: every measurement once, and its baseline right beside it.

Not here: the meaning of the numbers (`real_figures`), and whether the servers are there (`real`).
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from lab.bench import real_http, real_kafka, real_postgres, real_redis
from lab.bench.real_verdict import VerdictTime, flooded_orders_a_second, measure_verdict, orders_in
from lab.bench.rounds import OnProgress, Progress

T = TypeVar("T")


class RealSizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much is run for each measurement.

    Attributes:
        events: that one consumer handles.
        hops: orders over three topics.
        lives: orders through the store.
        lives_raw_s: how long the baseline of those runs.
        keys, keys_raw: claimed, and set.
        posts: requests.
        orders: of the whole run.
        load_s: the whole run's orders come for so long, instead; 0: `orders` decides.
        flood: orders of the runs with one and with two workers.
    """

    events: int = 10_000
    hops: int = 4_000
    lives: int = 2_000
    lives_raw_s: int = 3
    keys: int = 20_000
    keys_raw: int = 30_000
    posts: int = 6_000
    orders: int = 200
    load_s: float = 0.0
    flood: int = 500


REAL: Final = RealSizes()


class RealRound(msgspec.Struct, frozen=True, kw_only=True):
    """The measurements of one round, each a rate a second; 0 is one that nobody asked for.

    Attributes:
        events, events_raw: handled, each in five milliseconds.
        disorders_raw: events of the baseline that did not wait for the one before them.
        hops, hops_raw: orders over three topics.
        lives, lives_raw: orders through the database.
        lives_by: program that measured the baseline.
        keys, claims, keys_raw: keys deduplicated, only claimed, and set.
        keys_by: program that measured the baseline.
        posts, posts_raw: requests answered.
        two_workers, one_worker: orders of a whole run that came to their end, with so many members
            of each consumer group.
    """

    sizes: RealSizes
    events: float = 0.0
    events_raw: float = 0.0
    disorders_raw: int = 0
    hops: float = 0.0
    hops_raw: float = 0.0
    lives: float = 0.0
    lives_raw: float = 0.0
    lives_by: str = ""
    keys: float = 0.0
    claims: float = 0.0
    keys_raw: float = 0.0
    keys_by: str = ""
    posts: float = 0.0
    posts_raw: float = 0.0
    two_workers: float = 0.0
    one_worker: float = 0.0


class RealRounds:
    """Takes one round after the other, and the one whole run.

    Args:
        at: addresses of the servers, as `readiness.addresses` gives them.
        parts: names of those to measure, of `lab.bench.parts.REAL`.
        sizes: see `RealSizes`.
        rounds: how many there will be.
        on_progress: see `Progress`.
    """

    def __init__(
        self,
        at: Mapping[str, str],
        parts: Iterable[str],
        sizes: RealSizes,
        *,
        rounds: int,
        on_progress: OnProgress | None,
    ) -> None:
        self._at = at
        self._sizes = sizes
        measured: Mapping[str, tuple[Callable[[], dict[str, Any]], ...]] = {
            "kafka": (self._events, self._hops),
            "postgres": (self._lives,),
            "redis": (self._keys,),
            "http": (self._posts,),
            "workers": (self._workers,),
        }
        names = set(parts)
        self._measures = [
            measure for part, some in measured.items() if part in names for measure in some
        ]
        whole_runs = int("run" in names)
        steps = len(self._measures) + ("workers" in names)
        self._progress = Progress(rounds * steps + whole_runs, on_progress)

    def take(self) -> RealRound:
        """Measure everything that is wanted but the whole run once.

        Raises:
            BenchError: something did not do its work.
            LabError: a server stopped answering.
        """
        found: dict[str, Any] = {}
        for measure in self._measures:
            found |= measure()
        return RealRound(sizes=self._sizes, **found)

    def take_verdict(self) -> VerdictTime:
        """Measure the whole run.

        Raises:
            BenchError: its verdict was not PASS.
        """
        sizes = self._sizes
        orders = orders_in(sizes.load_s) if sizes.load_s else sizes.orders
        return self._timed("start to verdict", lambda: measure_verdict(orders))

    def _events(self) -> dict[str, Any]:
        kafka, events = self._at["KAFKA_BOOTSTRAP"], self._sizes.events
        ours, raw = self._timed(
            "Kafka, handlers", lambda: asyncio.run(real_kafka.handle_events(kafka, events))
        )
        return {"events": ours.rate, "events_raw": raw.rate, "disorders_raw": raw.disorders}

    def _hops(self) -> dict[str, Any]:
        kafka, orders = self._at["KAFKA_BOOTSTRAP"], self._sizes.hops
        hops, raw = self._timed(
            "Kafka, three hops", lambda: asyncio.run(real_kafka.hop_orders(kafka, orders))
        )
        return {"hops": hops, "hops_raw": raw}

    def _lives(self) -> dict[str, Any]:
        dsn, sizes = self._at["POSTGRES_DSN"], self._sizes
        lives, raw = self._timed(
            "PostgreSQL",
            lambda: real_postgres.orders_a_second(
                dsn, orders=sizes.lives, raw_seconds=sizes.lives_raw_s
            ),
        )
        return {"lives": lives, "lives_raw": raw.rate, "lives_by": raw.by}

    def _keys(self) -> dict[str, Any]:
        redis, sizes = self._at["REDIS_URL"], self._sizes
        keys, claims, raw = self._timed(
            "Redis",
            lambda: real_redis.keys_a_second(redis, keys=sizes.keys, raw_keys=sizes.keys_raw),
        )
        return {"keys": keys, "claims": claims, "keys_raw": raw.rate, "keys_by": raw.by}

    def _posts(self) -> dict[str, Any]:
        posts, raw = self._timed("HTTP", lambda: real_http.posts_a_second(self._sizes.posts))
        return {"posts": posts, "posts_raw": raw}

    def _workers(self) -> dict[str, Any]:
        def flooded(members: int) -> float:
            return flooded_orders_a_second(members, self._sizes.flood)

        one = self._timed("one worker", lambda: flooded(1))
        return {"one_worker": one, "two_workers": self._timed("two workers", lambda: flooded(2))}

    def _timed(self, measurement: str, measure: Callable[[], T]) -> T:
        self._progress.begin(measurement)
        return measure()
