"""A round on real servers: every measurement once, and its baseline right beside it.

Not here: the meaning of the numbers (`real_figures`), and whether the servers are there (`real`).
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from lab.bench import real_http, real_kafka, real_postgres, real_redis
from lab.bench.real_verdict import VerdictTime, measure_verdict
from lab.bench.rounds import OnProgress, Progress

T = TypeVar("T")

_MEASUREMENTS: Final = 5


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
    """

    events: int = 10_000
    hops: int = 4_000
    lives: int = 2_000
    lives_raw_s: int = 3
    keys: int = 20_000
    keys_raw: int = 30_000
    posts: int = 6_000
    orders: int = 200


REAL: Final = RealSizes()


class RealRound(msgspec.Struct, frozen=True, kw_only=True):
    """The measurements of one round; every number is a rate a second.

    Attributes:
        events, events_raw: handled, each in five milliseconds.
        disorders_raw: events of the baseline that did not wait for the one before them.
        hops, hops_raw: orders over three topics.
        lives, lives_raw: orders through the database.
        lives_by: program that measured the baseline.
        keys, claims, keys_raw: keys deduplicated, only claimed, and set.
        keys_by: program that measured the baseline.
        posts, posts_raw: requests answered.
    """

    sizes: RealSizes
    events: float
    events_raw: float
    disorders_raw: int
    hops: float
    hops_raw: float
    lives: float
    lives_raw: float
    lives_by: str
    keys: float
    claims: float
    keys_raw: float
    keys_by: str
    posts: float
    posts_raw: float


class RealRounds:
    """Takes one round after the other, and the one whole run.

    Args:
        at: addresses of the servers, as `readiness.addresses` gives them.
        sizes: see `RealSizes`.
        rounds: how many there will be.
        on_progress: see `Progress`.
    """

    def __init__(
        self,
        at: Mapping[str, str],
        sizes: RealSizes,
        *,
        rounds: int,
        on_progress: OnProgress | None,
    ) -> None:
        self._at = at
        self._sizes = sizes
        self._progress = Progress(rounds * _MEASUREMENTS + 1, on_progress)

    def take(self) -> RealRound:
        """Measure everything but the whole run once.

        Raises:
            BenchError: something did not do its work.
            LabError: a server stopped answering.
        """
        at, sizes, timed = self._at, self._sizes, self._timed
        kafka, dsn, redis = at["KAFKA_BOOTSTRAP"], at["POSTGRES_DSN"], at["REDIS_URL"]
        ours, raw = timed(
            "Kafka, handlers", lambda: asyncio.run(real_kafka.handle_events(kafka, sizes.events))
        )
        hops, hops_raw = timed(
            "Kafka, three hops", lambda: asyncio.run(real_kafka.hop_orders(kafka, sizes.hops))
        )
        lives, lives_raw = timed(
            "PostgreSQL",
            lambda: real_postgres.orders_a_second(
                dsn, orders=sizes.lives, raw_seconds=sizes.lives_raw_s
            ),
        )
        keys, claims, keys_raw = timed(
            "Redis",
            lambda: real_redis.keys_a_second(redis, keys=sizes.keys, raw_keys=sizes.keys_raw),
        )
        posts, posts_raw = timed("HTTP", lambda: real_http.posts_a_second(sizes.posts))
        return RealRound(
            sizes=sizes,
            events=ours.rate,
            events_raw=raw.rate,
            disorders_raw=raw.disorders,
            hops=hops,
            hops_raw=hops_raw,
            lives=lives,
            lives_raw=lives_raw.rate,
            lives_by=lives_raw.by,
            keys=keys,
            claims=claims,
            keys_raw=keys_raw.rate,
            keys_by=keys_raw.by,
            posts=posts,
            posts_raw=posts_raw,
        )

    def take_verdict(self) -> VerdictTime:
        """Measure the whole run.

        Raises:
            BenchError: its verdict was not PASS.
        """
        return self._timed("start to verdict", lambda: measure_verdict(self._sizes.orders))

    def _timed(self, measurement: str, measure: Callable[[], T]) -> T:
        self._progress.begin(measurement)
        return measure()
