"""Weeks of a standing system in virtual time: what is cut by age does not grow."""

import pytest
from msgspec.structs import replace

from lab.domain.order import OrderState
from lab.ports.retention import Ages
from lab.ports.store import HttpKeyRow, Unit
from lab.runtime.clock import VirtualClock
from lab.runtime.process_loop import ProcessLoop
from lab.runtime.virtual_loop import Scheduler
from lab.settings import SettingError, settings_for
from lab.stores.memory.retention import MemoryRetention
from lab.stores.memory.store import MemoryStoreServer
from lab.wiring.process.retention import RetentionJob, ages_of, safe
from tests.contract.store_worlds import SHARDS, make_change, make_create, make_outcome

DAY_MS = 86_400_000
DAY_US = DAY_MS * 1_000
YEAR_US = 365 * DAY_US
"""So long the server itself forgets nothing: whatever goes before is cut by the job."""
WEEKS = 6
ORDERS_A_DAY = 12
GROUPS = ("validation", "payment", "orders", "notification")
SETTINGS = settings_for("wall-clock")
NEVER = 10**6


class Standing:
    """A system that gets orders every day, and a relay that publishes and cuts.

    Attributes:
        sizes: outcomes and answers at the end of each week.
        told: rows by each sentence of the job.
    """

    def __init__(self, *, is_cut: bool, relay_dies_on: int, outage_on: int) -> None:
        self.sizes: list[tuple[int, int]] = []
        self.told: list[tuple[str, int]] = []
        self._is_cut, self._relay_dies_on, self._outage_on = is_cut, relay_dies_on, outage_on

    def live(self) -> None:
        """All the weeks."""
        with Scheduler() as scheduler:
            self.server = MemoryStoreServer(scheduler.root, retention_us=YEAR_US, shards=SHARDS)
            scheduler.run(self._live(VirtualClock(scheduler.root), scheduler.process("relay")))

    async def _live(self, clock: VirtualClock, relay: ProcessLoop) -> None:
        if self._is_cut:
            job = RetentionJob(
                MemoryRetention(self.server),
                VirtualClock(relay),
                SETTINGS,
                redelivery_ms=self._redelivery_ms,
                tell=lambda sentence, rows: self.told.append((sentence, sum(rows.values()))),
            )
            cutting = relay.create_task(job.run())
            cutting.set_name("cutting")
        for day in range(7 * WEEKS):
            if day == self._outage_on:
                self.server.begin_outage()
            for number in range(ORDERS_A_DAY):
                self._order(f"order-{day}-{number}")
                await clock.sleep_us(DAY_US // ORDERS_A_DAY)
            if day == self._outage_on:
                self.server.end_outage()
            if day < self._relay_dies_on:
                for shard in range(SHARDS):
                    self.server.outbox.mark(self.server.outbox.read(shard, NEVER))
            if day % 7 == 6:
                done = len(self.server.outcomes.old(YEAR_US * 100))
                self.sizes.append((done, len(self.server.http_keys.older(YEAR_US * 100))))

    async def _redelivery_ms(self) -> int:
        return SETTINGS.redelivery_ms()

    def _order(self, name: str) -> None:
        server = self.server
        answer = HttpKeyRow(key=name, body_sha256="x", status=201, answer=b"")
        for unit in (
            replace(make_create(name), http_key=answer),
            make_change(OrderState.CANCELLED, order_id=name),
        ):
            event = replace(unit.events[0], time_us=server.now_us())
            server.commit(replace(unit, events=(event,)))
        for group in GROUPS:
            server.commit(Unit(outcome=make_outcome(name, group=group)))


def lived(*, is_cut: bool = True, relay_dies_on: int = NEVER, outage_on: int = -1) -> Standing:
    standing = Standing(is_cut=is_cut, relay_dies_on=relay_dies_on, outage_on=outage_on)
    standing.live()
    return standing


def test_what_is_cut_by_age_is_flat_over_weeks() -> None:
    sizes = lived().sizes
    a_day = ORDERS_A_DAY * len(GROUPS)
    inbox_days = SETTINGS.number("retention.inbox_ms") / DAY_MS
    keys_days = SETTINGS.number("retention.http_keys_ms") / DAY_MS
    assert [sizes[2]] * (WEEKS - 2) == sizes[2:], "as large after six weeks as after three"
    for done, keys in sizes[2:]:
        assert inbox_days * a_day <= done <= (inbox_days + 1) * a_day
        assert keys_days * ORDERS_A_DAY <= keys <= (keys_days + 1) * ORDERS_A_DAY


def test_without_the_job_it_grows_by_every_order() -> None:
    sizes = lived(is_cut=False).sizes
    assert sizes[-1] == (7 * WEEKS * ORDERS_A_DAY * len(GROUPS), 7 * WEEKS * ORDERS_A_DAY)


def test_while_nothing_is_published_the_inbox_forgets_nothing_since() -> None:
    dies_on = 10
    standing = lived(relay_dies_on=dies_on)
    days_since = 7 * WEEKS - dies_on
    assert standing.sizes[-1][0] >= days_since * ORDERS_A_DAY * len(GROUPS)


def test_a_store_that_is_away_is_cut_the_next_time_and_it_is_said() -> None:
    standing = lived(outage_on=20)
    refused = [sentence for sentence, rows in standing.told if not rows]
    assert refused
    assert all("what is old was not cut" in sentence for sentence in refused)
    assert standing.sizes[3:] == lived().sizes[3:]


# ---- which ages are safe


def test_settings_whose_inbox_forgets_before_the_topics_are_refused_by_both_names() -> None:
    for changes in (
        {"retention.inbox_ms": 7 * DAY_MS},
        {"bus.retention_ms": 0},
        {"bus.retention_ms": 13 * DAY_MS},
    ):
        with pytest.raises(SettingError, match=r"retention\.inbox_ms.*bus\.retention_ms"):
            SETTINGS.with_changes(changes)
    for changes in (
        {"retention.inbox_ms": 0, "bus.retention_ms": 0},
        {"retention.inbox_ms": SETTINGS.redelivery_ms()},
        {"bus.retention_ms": 12 * DAY_MS},
    ):
        SETTINGS.with_changes(changes)


def test_topics_that_forget_an_event_before_its_last_attempt_are_refused() -> None:
    with pytest.raises(SettingError, match=r"bus\.retention_ms.*retry\.max_elapsed_ms"):
        SETTINGS.with_changes({"bus.retention_ms": 10_000})


def test_the_inbox_keeps_what_the_topics_on_the_broker_really_keep() -> None:
    ages = ages_of(SETTINGS)
    assert safe(ages, SETTINGS.redelivery_ms()) == (ages, "")
    longer, said = safe(ages, 30 * DAY_MS)
    assert longer == replace(ages, inbox=30 * DAY_US)
    assert "30.0 days" in said
    for_ever, said = safe(ages, 0)
    assert for_ever == replace(ages, inbox=0)
    assert "lab migrate" in said
    nothing = Ages(outbox=1, inbox=0, http_keys=1, versions=1)
    assert safe(nothing, 0) == (nothing, "")
