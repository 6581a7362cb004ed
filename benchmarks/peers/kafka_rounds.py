"""A round on Kafka: every consumer once for its rate, and twice ended in the middle.

Rates are taken one after the other, with nothing beside them. Ends are side by side: no time of
them counts but how long a stop takes, and all of them are mostly waits.

Not here: lives of a consumer (`running.py`), judging (`judge.py`).
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.peers.catalogue import Peer
from benchmarks.peers.judge import Journal, Rate, Stop, judge_rate, judge_stop
from benchmarks.peers.running import Lives
from benchmarks.peers.workload import Job, Load

PARTITIONS: Final = 8
KEYS: Final = 64
SESSION_MS: Final = 3_000
COMMIT_MS: Final = 200

RATE: Final = "rate"
STOPS: Final = "stops"
CONCURRENCY: Final = {RATE: 100, STOPS: 16}
BATCH: Final = {RATE: 500, STOPS: 80}

WINDOW_S: Final = 2.0
INTO_SLOW_S: Final = 0.3
"""A consumer is ended so long after it began the first slow record."""

TERM_S: Final = 30
"""An orchestrator kills what has not ended by itself after so long, if it is not told otherwise."""

_FIRST_S: Final = 30
_QUIET_S: Final = 5
"""A restarted consumer that has handled something, and then nothing for so long, is done."""

_RESTART_S: Final = 20
_STOP_S: Final = 90
_SIDE_BY_SIDE: Final = 8

OnProgress = Callable[[str], None]


def loads(records: int) -> dict[str, Load]:
    """Both topics; `records` are in that of the rates."""
    return {
        RATE: Load(records=records, keys=KEYS, handler_us=2_000),
        STOPS: Load(records=20 * KEYS, keys=KEYS, handler_us=2_000, slow_us=400_000),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaRound:
    """What one round has measured of one consumer."""

    rate: Rate
    killed: Stop
    terminated: Stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a round runs.

    Attributes:
        bootstrap: the broker.
        prefix: of the topics.
        folder: for journals.
        loads: of the topics.
        lives: of its consumers.
    """

    bootstrap: str
    prefix: str
    folder: Path
    loads: dict[str, Load]
    lives: Lives = field(default_factory=Lives)

    def job(self, peer: Peer, topic: str, life: str) -> Job:
        """A job under a group that nobody has used."""
        group = f"{peer.name.replace(' ', '-')}-{life}"
        return Job(
            setting=peer.setting,
            bootstrap=self.bootstrap,
            prefix=self.prefix,
            topic=topic,
            group=group,
            journal=str(self.folder / f"{group}.journal"),
            concurrency=CONCURRENCY[topic],
            batch=BATCH[topic],
            partitions=PARTITIONS,
            commit_ms=COMMIT_MS,
            session_ms=SESSION_MS,
        )


def take_round(
    place: Place, peers: Sequence[Peer], number: int, on_progress: OnProgress
) -> dict[str, KafkaRound]:
    """Measure every consumer once, beginning with another one in each round.

    Raises:
        MeasureError: one did not do its work.
    """
    turn = number % len(peers)
    rates = {}
    for peer in (*peers[turn:], *peers[:turn]):
        on_progress(f"round {number + 1}, rate of {peer.name}")
        rates[peer.name] = _rate(place, peer, number)
    on_progress(f"round {number + 1}, ends of {len(peers)} consumers")
    killed, ended = _ends(place, peers, number)
    return {
        peer.name: KafkaRound(
            rate=rates[peer.name], killed=killed[peer.name], terminated=ended[peer.name]
        )
        for peer in peers
    }


def _ends(
    place: Place, peers: Sequence[Peer], number: int
) -> tuple[dict[str, Stop], dict[str, Stop]]:
    """Every consumer killed, and every one terminated."""
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        try:
            killed = {peer.name: pool.submit(_killed, place, peer, number) for peer in peers}
            ended = {peer.name: pool.submit(_terminated, place, peer, number) for peer in peers}
            return (
                {name: one.result() for name, one in killed.items()},
                {name: one.result() for name, one in ended.items()},
            )
        except BaseException:
            # Leaving the pool waits for all of it; nobody would remove the groups of the living.
            pool.shutdown(wait=False, cancel_futures=True)
            place.lives.end()
            raise


def _rate(place: Place, peer: Peer, number: int) -> Rate:
    records = place.loads[RATE].records
    with place.lives.begin(peer, place.job(peer, RATE, f"rate-{number}")) as consumer:
        journal, used = consumer.let_work(WINDOW_S + 0.2, first_s=_FIRST_S)
    return judge_rate(journal.handlings, used, window_ns=int(WINDOW_S * 1e9), records=records)


def _killed(place: Place, peer: Peer, number: int) -> Stop:
    job = place.job(peer, STOPS, f"kill-{number}")
    with place.lives.begin(peer, job) as consumer:
        consumer.wait_until(_is_in_slow, _FIRST_S)
        consumer.kill()
    return judge_stop(_go_on(place, peer, job).handlings, records=place.loads[STOPS].records)


def _terminated(place: Place, peer: Peer, number: int) -> Stop:
    job = place.job(peer, STOPS, f"term-{number}")
    with place.lives.begin(peer, job) as consumer:
        consumer.wait_until(_is_in_slow, _FIRST_S)
        exit_s, is_own = consumer.terminate(TERM_S)
    journal = _go_on(place, peer, job)
    return judge_stop(
        journal.handlings, records=place.loads[STOPS].records, exit_s=exit_s, is_own=is_own
    )


def _go_on(place: Place, peer: Peer, job: Job) -> Journal:
    """Another life under the same group, until nothing more comes."""
    with place.lives.begin(peer, job) as consumer:
        return consumer.wait_done(
            place.loads[STOPS].records,
            quiet_s=_QUIET_S,
            first_s=_RESTART_S,
            within_s=_STOP_S,
        )


def _is_in_slow(journal: Journal) -> bool:
    begun = min(journal.slow_ns, default=None)
    return begun is not None and time.monotonic_ns() - begun > INTO_SLOW_S * 1e9
