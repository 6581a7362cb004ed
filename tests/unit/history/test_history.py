"""The history: its digest, its file, and the ports that write their calls into it."""

import json
import os
import subprocess
import sys
import typing
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.domain.errors import Transient
from lab.history.contents import NO_TIME
from lab.history.digest import Digest
from lab.history.entries import (
    CALLS,
    FACTS,
    FIELDS,
    KINDS,
    Entry,
    as_dict,
    counted_from,
    kind_of,
    subject_of,
)
from lab.history.history_file import (
    FIRST_ORDERS,
    HIT_ORDERS,
    WHOLE_UP_TO,
    WINDOW_BATCHES,
    HistoryFile,
)
from lab.history.pen import Pen
from lab.history.recorded_ports import RecordedDedupe, RecordedPublisher, RecordedStore
from lab.history.recorded_providers import RecordedGateway, RecordedMailer
from lab.history.recorder import BATCH, Recorder
from lab.patterns.fencing import accept_present
from lab.ports.bus import Outgoing
from lab.ports.store import OutcomeRow, Unit, UnitVerdict
from lab.providers.antifraud import AntifraudServer
from lab.providers.mailer import MailerServer
from lab.providers.payment_gateway import GatewayServer
from lab.providers.sim_client import SimProviders
from lab.providers.warehouse import WarehouseServer
from lab.runtime.chance import KeyedChance
from lab.runtime.virtual_loop import Scheduler
from lab.stores.memory.dedupe import MemoryDedupeServer
from lab.stores.memory.store import MemoryStoreServer
from tests.contract.store_worlds import make_create
from tests.kit.histories import HEALTHY, Story, plain

# ---- entries


TYPES: dict[object, type] = {int: int, bool: bool, tuple[str, ...]: tuple}
"""The class of the values of a field that is no text, by its declared type."""


def unexpected(error: OSError) -> None:
    raise error


def test_every_type_of_entry_is_named_after_its_kind() -> None:
    for kind, entry_type in KINDS.items():
        words = kind.replace(".", "_").split("_")
        assert entry_type.__name__ == "".join(map(str.capitalize, words)) + "Entry"
        assert typing.get_args(typing.get_type_hints(entry_type)["kind"]) == (kind,)


def test_every_entry_begins_with_the_same_four_fields() -> None:
    for kind, fields in FIELDS.items():
        assert fields[:4] == ("kind", "t_us", "process", "subject"), kind


def test_a_kind_is_a_fact_or_a_call() -> None:
    assert not FACTS.keys() & CALLS.keys()
    assert KINDS.keys() == FACTS.keys() | CALLS.keys()


@pytest.mark.parametrize("story", HEALTHY)
def test_handmade_histories_have_the_fields_of_their_types(story: str) -> None:
    for entry in HEALTHY[story]():
        hints = typing.get_type_hints(KINDS[kind_of(entry)])
        assert len(entry) == len(hints), entry
        for value, hint in zip(entry, hints.values(), strict=True):
            assert type(value) is TYPES.get(hint, str), entry


# ---- digest


def _digest(batches: list[list[Entry]]) -> str:
    digest = Digest()
    for batch in batches:
        digest.take(batch)
    return digest.hexdigest()


def test_an_entry_counts_its_instants_from_another_origin_and_its_lengths_from_none() -> None:
    told = {name: 7 if name.endswith("_us") else name for name in FIELDS["appended"]}
    moved = as_dict(counted_from(5, ("appended", *list(told.values())[1:])))
    assert {name for name, value in moved.items() if value == 2} == {
        *("t_us", "decided_us", "expires_us"),
    }

    ended = ("call.end", 7, "p", "1.1", "mailer", "send", "k", "ok", 7, 7, 7)
    assert counted_from(5, ended) == ("call.end", 2, *ended[2:])
    silent = tuple(NO_TIME if name == "decided_us" else 7 for name in FIELDS["appended"])
    assert as_dict(counted_from(5, ("appended", *silent[1:])))["decided_us"] == NO_TIME


def test_a_digest_does_not_depend_on_how_a_history_is_cut() -> None:
    entries = plain()
    whole = _digest([entries])
    for size in (1, 15, 16, 17, 100):
        assert _digest([entries[n : n + size] for n in range(0, len(entries), size)]) == whole


def test_a_digest_sees_every_change_and_every_swap() -> None:
    entries = plain()
    whole = _digest([entries])
    assert _digest([[*entries[:-1]]]) != whole
    assert _digest([[entries[1], entries[0], *entries[2:]]]) != whole
    *begin, last = entries[0]
    assert _digest([[(*begin, f"{last}!"), *entries[1:]]]) != whole


def test_a_digest_of_a_large_batch_is_that_of_its_halves() -> None:
    entries: list[Entry] = [("phase", n, "run", "", "faults") for n in range(70_000)]
    assert _digest([entries]) == _digest([entries[:40_000], entries[40_000:]])


@pytest.mark.parametrize("hash_seed", ["0", "4242"])
def test_a_digest_is_the_same_in_another_process(hash_seed: str) -> None:
    code = (
        "from tests.kit.histories import plain; from lab.history.digest import Digest; "
        "d = Digest(); d.take(plain()); print(d.hexdigest())"
    )
    root = Path(__file__).resolve().parents[3]
    environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)}
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        cwd=root,
        env=environment,
        text=True,
    )
    assert found.stdout.strip() == _digest([plain()])


# ---- file


def _written(path: Path, entries: list[Entry], *, keep_all: bool) -> list[dict[str, Any]]:
    file = HistoryFile(path, keep_all=keep_all, on_error=unexpected)
    recorder = Recorder([file])
    for entry in entries:
        recorder.write(entry)
    recorder.flush()
    file.close()
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_whole_history_is_written_line_by_line_with_its_names(tmp_path: Path) -> None:
    lines = _written(tmp_path / "h.ndjson", plain(), keep_all=True)
    assert lines == [json.loads(json.dumps(as_dict(entry))) for entry in plain()]


def _long(orders: int) -> list[Entry]:
    story = Story()
    for ordinal in range(1, orders + 1):
        subject = f"{ordinal}.1"
        story.ask(subject)
        if ordinal in (1_500, 2_100):
            story.write("fault", "run", subject, "proc.crash", "any", 1, 0)
        story.validate(subject)
    return story.end()


def test_of_a_long_history_the_first_orders_and_those_hit_by_a_fault_are_kept_whole(
    tmp_path: Path,
) -> None:
    entries = _long(WHOLE_UP_TO + 200)
    lines = _written(tmp_path / "h.ndjson", entries, keep_all=False)
    kept = {line["subject"] for line in lines if line["subject"]}
    assert kept == {f"{n}.1" for n in (*range(1, FIRST_ORDERS + 1), 1_500, 2_100)}
    for subject in ("1500.1", "2100.1"):
        told = [line for line in lines if line["subject"] == subject]
        assert len(told) == sum(subject_of(entry) == subject for entry in entries)
    claims = [line["event_id"] for line in lines if line["kind"] == "claim"]
    assert claims[-1].endswith("2100.1")
    assert any(event_id.endswith("1500.1") for event_id in claims)
    assert list(tmp_path.iterdir()) == [tmp_path / "h.ndjson"]
    assert [line["name"] for line in lines if line["kind"] == "phase"] == ["heal", "drain", "end"]


def test_a_history_is_kept_whole_up_to_the_limit(tmp_path: Path) -> None:
    entries = _long(WHOLE_UP_TO)
    lines = _written(tmp_path / "h.ndjson", entries, keep_all=False)
    assert lines == [json.loads(json.dumps(as_dict(entry))) for entry in entries]


def test_of_a_long_history_a_bounded_number_of_orders_is_kept(tmp_path: Path) -> None:
    story = Story()
    for ordinal in range(1, 3 * HIT_ORDERS):
        story.ask(f"{ordinal}.1")
        story.write("fault", "run", f"{ordinal}.1", "bus.duplicate", "payment", 1, 0)
    lines = _written(tmp_path / "h.ndjson", story.end(), keep_all=False)
    kept = {line["subject"] for line in lines if line["kind"] == "row"}
    assert len(kept) == FIRST_ORDERS + HIT_ORDERS


def test_what_waits_for_a_decision_is_bounded(tmp_path: Path) -> None:
    file = HistoryFile(tmp_path / "h.ndjson", keep_all=False, on_error=unexpected)
    batch: list[Entry] = [("look", 1, "payment-1", "1.1", "payment", "e", "")] * BATCH
    for _ in range(3 * WINDOW_BATCHES):
        file.take(batch)
    assert len(file._window) == WINDOW_BATCHES
    file.close()


def test_a_full_disk_is_told_once_and_stops_nothing(tmp_path: Path) -> None:
    told: list[OSError] = []
    file = HistoryFile(tmp_path / "h.ndjson", keep_all=True, on_error=told.append)
    os.close(file._file.fileno())
    for _ in range(3):
        file.take(plain())
    file.close()
    assert [error.strerror for error in told] == ["Bad file descriptor"]


# ---- recorded ports


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    with Scheduler() as made:
        yield made


class World:
    """Servers in memory, one process, and the calls that it wrote."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.calls: list[Entry] = []
        self.loop = scheduler.process("payment-1")
        self.pen = Pen(process="payment-1", now=scheduler.root.now_us, write=self.calls.append)

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> list[dict[str, Any]]:
        """Run `main` in the process; the entries that it wrote."""

        async def inside() -> None:
            task = self.loop.create_task(main())
            while not task.done() and not self.loop.dead:
                await self.scheduler.root.create_task(_pause(self.scheduler))
            if task.done():
                task.result()

        self.scheduler.run(inside())
        return [as_dict(entry) for entry in self.calls]


async def _pause(scheduler: Scheduler) -> None:
    future = scheduler.root.create_future()
    scheduler.root.call_after_us(1_000, future.set_result, None)
    await future


def make_store(scheduler: Scheduler, world: World) -> RecordedStore:
    server = MemoryStoreServer(scheduler.root, retention_us=10**12)
    return RecordedStore(server.connect(world.loop).orders, pen=world.pen)


def test_a_commit_has_a_begin_and_an_end_with_its_verdict(scheduler: Scheduler) -> None:
    world = World(scheduler)
    store = make_store(scheduler, world)

    async def main() -> None:
        assert await store.commit(make_create("order-1")) is UnitVerdict.COMMITTED
        assert await store.load("order-1") is not None

    begin, end = world.run(main)
    assert (begin["kind"], end["kind"], end["result"]) == (
        "commit.begin",
        "commit.end",
        "committed",
    )


def test_burying_an_event_does_not_settle_it_as_done(scheduler: Scheduler) -> None:
    world = World(scheduler)
    store = make_store(scheduler, world)
    done = OutcomeRow(group="payment", event_id="e1")
    dead = OutcomeRow(group="payment", event_id="e2", is_dead=True)

    async def main() -> None:
        for outcome in (done, dead):
            await store.commit(
                Unit(by="payment", cause=outcome.event_id, settles=True, outcome=outcome)
            )

    ends = [entry for entry in world.run(main) if entry["kind"] == "commit.end"]
    assert [entry["settles"] for entry in ends] == [True, False]


def test_a_call_whose_process_dies_has_no_end(scheduler: Scheduler) -> None:
    world = World(scheduler)
    store = make_store(scheduler, world)

    async def main() -> None:
        world.loop.call_soon(world.loop.kill)
        await store.commit(make_create("order-1"))

    assert [entry["kind"] for entry in world.run(main)] == ["commit.begin"]


def test_a_claim_is_recorded_with_its_fence_and_its_end_with_whether_it_was_accepted(
    scheduler: Scheduler,
) -> None:
    world = World(scheduler)
    server = MemoryDedupeServer(scheduler.root, window_us=10**12, accepts=accept_present)
    dedupe = RecordedDedupe(server.connect(), pen=world.pen)

    async def main() -> None:
        claim = await dedupe.claim("payment", "e1", owner="a", lease_us=10**6)
        await dedupe.complete("payment", "e1", owner="b", fence=claim.fence, window_us=10**6)
        await dedupe.release("payment", "e1", owner="a", fence=claim.fence)

    claim, complete, unclaim = world.run(main)
    assert (claim["state"], claim["fence"]) == ("acquired", complete["fence"])
    assert (complete["accepted"], unclaim["accepted"]) == (False, True)


def make_providers(scheduler: Scheduler, world: World) -> SimProviders:
    def server(kind: type[Any]) -> Any:
        return kind(
            chance=KeyedChance(1), now_us=scheduler.root.now_us, latency_us=120_000, write=None
        )

    return SimProviders(
        warehouse=server(WarehouseServer),
        antifraud=server(AntifraudServer),
        gateway=server(GatewayServer),
        mailer=server(MailerServer),
        caller=world.loop,
        timers=scheduler.root,
        subject_of=lambda order_id: order_id,
    )


def test_a_call_to_a_third_party_is_recorded_with_its_answer_and_its_length(
    scheduler: Scheduler,
) -> None:
    world = World(scheduler)
    providers = make_providers(scheduler, world)
    subject_of = {"order-1": "37.1"}.__getitem__
    gateway = RecordedGateway(providers.gateway, subject_of=subject_of, pen=world.pen)

    async def main() -> None:
        until = scheduler.root.now_us() + 2_000_000
        charge: dict[str, Any] = {"amount_cents": 5, "currency": "EUR", "deadline_us": until}
        await gateway.charge("order-1", key="k", **charge)
        await gateway.query("order-1", deadline_us=until)

    entries = world.run(main)
    assert [entry["kind"] for entry in entries] == ["call.begin", "call.end"] * 2
    assert [entry["result"] for entry in entries[1::2]] == ["captured", "captured"]
    assert {entry["subject"] for entry in entries} == {"37.1"}
    for begin, end in zip(entries[::2], entries[1::2], strict=True):
        assert end["took_us"] == end["t_us"] - begin["t_us"] > 0
        assert end["late_us"] == 0


def test_a_call_that_fails_is_recorded_with_the_class_of_its_error(scheduler: Scheduler) -> None:
    world = World(scheduler)
    providers = make_providers(scheduler, world)
    mailer = RecordedMailer(providers.mailer, subject_of=str, pen=world.pen)

    async def main() -> None:
        with pytest.raises(Transient):
            await mailer.send("order-1", key="k", template="t", deadline_us=-1)

    _, end = world.run(main)
    assert (end["provider"], end["action"], end["result"]) == ("mailer", "send", "Transient")
    assert end["late_us"] > 0


def test_a_publish_names_the_topic_and_the_order_that_its_records_have_in_common(
    scheduler: Scheduler,
) -> None:
    world = World(scheduler)

    class Log:
        async def publish(self, records: object) -> None:
            del records

    publisher = RecordedPublisher(Log(), pen=world.pen)

    def record(topic: str, subject: bytes) -> Outgoing:
        headers = (("ce_id", b"e-" + subject), ("lab-subject", subject))
        return Outgoing(topic, b"k", b"v", headers)

    async def main() -> None:
        await publisher.publish([record("orders", b"1.1")])
        await publisher.publish([record("orders", b"1.1"), record("orders", b"2.1")])
        await publisher.publish([record("orders", b"1.1"), record("payments", b"2.1")])

    ends = world.run(main)[1::2]
    assert [(end["topic"], end["subject"]) for end in ends] == [
        ("orders", "1.1"),
        ("orders", ""),
        ("", ""),
    ]
    assert ends[2]["event_ids"] == ("e-1.1", "e-2.1")
