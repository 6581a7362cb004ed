"""A world of one key: two consumers, the links that keep its order, and everything between calls.

A step is one port call of one consumer. Between any two steps a consumer may die, topics may change
hands while their old owner goes on, a record may come twice, an answer may be lost, dedupe may
forget, a process may drain, time may pass although somebody is at work, or an operator answers a
dead letter. A state that was seen is not tried again.

What is real: the links of the chain and the memory stores. What is modelled here: the delivery
loop (lanes, positions, redelivery), the log, and the handler, which is one call that may fail.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from lab.domain.envelope import H_DISCARD, H_REDRIVES, Envelope, to_headers
from lab.domain.errors import Indeterminate, LabError, Permanent, Transient
from lab.history.pen import Pen
from lab.patterns.dead_letter import DeadLetterQueue, DeadLetters, Limiter
from lab.patterns.dedupe import Dedupe
from lab.patterns.fencing import accept_present
from lab.patterns.inbox import Inbox
from lab.patterns.key_lanes import KeyLanes, KeyParking
from lab.patterns.redrive import Letter, to_record
from lab.patterns.retry import RetryBudget, Retrying, RetryPolicy
from lab.ports.bus import Ack, Delivery, Record, Release, Retry, Settlement, retry_topic
from lab.ports.dedupe import Claim
from lab.ports.key_retry import WaitingRow
from lab.ports.store import Outcome, OutcomeRow, Unit, UnitVerdict
from lab.stores.memory.dedupe import MemoryDedupeServer
from lab.stores.memory.key_retry import KeyRetryTable, MemoryKeyRetry
from lab.stores.memory.outage import Outage
from lab.stores.memory.outcomes import DONE, OutcomeTable
from tests.kit.stepping import (
    AskedDedupe,
    AskedKeyRetry,
    AskedOrders,
    AskedPublisher,
    Call,
    Stop,
    ask,
    at_once,
    stand,
)

GROUP: Final = "notification"
TYPE: Final = "OrderCreated"
KEY: Final = "order"
TIER_US: Final = 10
LEASE_US: Final = 25
ATTEMPTS_MAX: Final = 3
LONG_US: Final = 1_000_000

MAIN, OTHER, ALARMS, ANSWERS = 0, 1, 2, 3
TOPICS: Final = (
    "orders",
    "payments",
    retry_topic("orders", GROUP, 1),
    retry_topic("orders", GROUP, 0),
)


@dataclass(frozen=True, kw_only=True)
class World:
    """What there is and how often what may happen. Events are numbered from 1.

    Attributes:
        log, other: the events in two main topics, in order.
        failures: how many attempts of an event may fail.
        permanent: events that fail for good.
        moves: deliveries that a drain moves instead of handling them.
        slow: times that a deadline passes while somebody could go on.
        redrives, discards: times that an operator sends a dead letter back, or gives it up.
    """

    log: tuple[int, ...]
    other: tuple[int, ...] = ()
    failures: Mapping[int, int] = field(default_factory=dict)
    permanent: tuple[int, ...] = ()
    in_place: int = 1
    crashes: int = 0
    rebalances: int = 0
    duplicates: int = 0
    lost_answers: int = 0
    forgets: int = 0
    moves: int = 0
    slow: int = 0
    redrives: int = 0
    discards: int = 0


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts under test; a planted bug replaces one."""

    parking: type[KeyParking] = KeyParking
    lanes: type[KeyLanes] = KeyLanes
    dedupe: type[Dedupe] = Dedupe
    table: type[KeyRetryTable] = KeyRetryTable

    def name(self) -> str:
        """The part that was replaced."""
        parts = [getattr(self, each.name) for each in fields(self) if each.default]
        changed = [
            each.__name__
            for each, own in zip(parts, fields(self), strict=True)
            if each is not own.default
        ]
        return " ".join(changed) or "sound"


class Broken(AssertionError):
    """A promise is broken; the message says which, and the steps that led there."""


class Answer(NamedTuple):
    """An operator's answer to the dead letter of an event, as it stands in its topic."""

    number: int
    redrives: int
    is_discard: bool


class Flight(NamedTuple):
    """A delivery in hand: which record, as of which attempt, and what its calls were answered."""

    topic: int
    offset: int
    attempt: int
    is_known: bool
    is_stale: bool
    is_move: bool
    answers: tuple[Any, ...]
    answer: Answer | None = None


class Held(NamedTuple):
    """A delivery that is to start again at `due`, at the head of its lane."""

    flight: Flight
    due: int


class Consumer(NamedTuple):
    """One process: its life, what it runs, and what waits at the head of its lane."""

    life: int
    flight: Flight | None
    held: Held | None


class Budget(NamedTuple):
    """What may still go wrong."""

    failures: tuple[tuple[int, int], ...]
    crashes: int
    rebalances: int
    duplicates: int
    lost_answers: int
    forgets: int
    moves: int
    slow: int
    redrives: int
    discards: int


class State(NamedTuple):
    """Everything there is.

    `known_from`: main records from there on are surely in first hands. `letters`: events and the
    redrives that they died at. `answered`: what an operator has sent, in order.
    """

    now: int
    alarms: int
    position: tuple[int, int, int, int]
    owner: tuple[int, int, int, int]
    known_from: tuple[int, int]
    rows: tuple[WaitingRow, ...]
    outcomes: tuple[int | None, ...]
    claims: tuple[tuple[str, str, int, int], ...]
    marks: tuple[str, ...]
    consumers: tuple[Consumer, Consumer]
    letters: tuple[tuple[int, int], ...]
    answered: tuple[Answer, ...]
    left: Budget


class Raised(NamedTuple):
    """An answer that is an error."""

    kind: type[LabError]


Label = tuple[Any, ...]
Path = tuple[Label, Any] | None
ACCIDENTS: Final = frozenset({"crash", "rebalance", "slow", "forget", "move", "answer"})


class Explorer:
    """Every state that a world can get into.

    Attributes:
        states: how many there are.
        steps: how many ways lead from one to another.
        ends: states in which nothing more is to be done.
    """

    def __init__(self, world: World, parts: Parts, *, limit: int = 400_000) -> None:
        self.steps = 0
        self.ends = 0
        self._world = world
        self._parts = parts
        self._limit = limit
        self._logs = (world.log, world.other)
        self._numbers = max((*world.log, *world.other))
        self._seen: set[Any] = set()
        self._stops: dict[Any, Stop] = {}

    @property
    def states(self) -> int:
        return len(self._seen)

    def run(self) -> None:
        """Try everything.

        Raises:
            Broken: somewhere a promise is broken.
        """
        first = self._first()
        stack: list[tuple[State, Path]] = [(first, None)]
        self._seen.add(_key(first))
        while stack:
            state, path = stack.pop()
            is_end = True
            for label, follow in self._moves(state):
                is_end = is_end and label[0] in ACCIDENTS
                here: Path = (label, path)
                for follower in self._follow(follow, here):
                    self.steps += 1
                    key = _key(follower)
                    if key not in self._seen:
                        self._seen.add(key)
                        assert len(self._seen) < self._limit, "too large a world to try it all"
                        stack.append((follower, here))
            if is_end:
                self.ends += 1
                self._check_end(state, path)

    def _follow(self, follow: Callable[[], list[State]], path: Path) -> list[State]:
        try:
            followers = follow()
            for follower in followers:
                self._check(follower)
        except Broken as broken:
            raise Broken(f"{broken}: {_story(path)}") from None
        return followers

    def _first(self) -> State:
        world, idle = self._world, Consumer(0, None, None)
        return State(
            now=0,
            alarms=0,
            position=(0, 0, 0, 0),
            owner=(0, 1, 1, 1),
            known_from=(0, 0),
            rows=(),
            outcomes=(None,) * self._numbers,
            claims=(),
            marks=(),
            consumers=(idle, idle),
            letters=(),
            answered=(),
            left=Budget(
                failures=tuple(world.failures.items()),
                crashes=world.crashes,
                rebalances=world.rebalances,
                duplicates=world.duplicates,
                lost_answers=world.lost_answers,
                forgets=world.forgets,
                moves=world.moves,
                slow=world.slow,
                redrives=world.redrives,
                discards=world.discards,
            ),
        )

    # ---- what can happen next

    def _moves(self, state: State) -> Iterator[tuple[Label, Callable[[], list[State]]]]:
        can_step = False
        left = state.left
        for who in (0, 1):
            for flight in self._startable(state, who):
                can_step = True
                label = ("step", who, TOPICS[flight.topic], flight.offset)
                yield label, partial(self._step, state, who, flight)
                if left.moves and not flight.answers and not flight.is_move:
                    moved = flight._replace(is_move=True)
                    fewer = state._replace(left=left._replace(moves=left.moves - 1))
                    yield (
                        ("move", *label[1:]),
                        partial(self._step, fewer, who, moved),
                    )
        later = _next_deadline(state)
        if later is not None and not can_step:
            yield ("time",), partial(_only, state._replace(now=later))
        if later is not None and can_step and left.slow:
            fewer = state._replace(left=left._replace(slow=left.slow - 1), now=later)
            yield ("slow",), partial(_only, fewer)
        for who in (0, 1):
            if left.crashes and (state.consumers[who].flight is not None or who in state.owner):
                yield ("crash", who), partial(self._crash, state, who)
        if left.rebalances:
            yield ("rebalance",), lambda: self._rebalance(state)
        if left.forgets and (state.claims or state.marks):
            fewer = state._replace(left=left._replace(forgets=left.forgets - 1))
            yield ("forget",), partial(_forgotten, fewer)
        yield from self._answers_to_letters(state)

    def _answers_to_letters(
        self, state: State
    ) -> Iterator[tuple[Label, Callable[[], list[State]]]]:
        """An operator looks: each letter that nobody has answered may be."""
        left, last = state.left, {each.number: each.redrives for each in state.answered}
        for number, redrives in state.letters:
            if last.get(number, 0) > redrives:
                continue
            for is_discard, budget in ((False, left.redrives), (True, left.discards)):
                if budget:
                    answer = Answer(number, redrives + 1, is_discard)
                    fewer = (
                        left._replace(discards=budget - 1)
                        if is_discard
                        else left._replace(redrives=budget - 1)
                    )
                    after = state._replace(answered=(*state.answered, answer), left=fewer)
                    yield ("answer", *answer), partial(_only, after)

    def _startable(self, state: State, who: int) -> Iterator[Flight]:
        """What a consumer can go on with: one delivery of the key at a time."""
        consumer = state.consumers[who]
        if consumer.flight is not None:
            yield consumer.flight
        elif consumer.held is not None:
            if consumer.held.due <= state.now:
                yield consumer.held.flight
        else:
            ends = self._ends(state)
            for topic, index in enumerate(state.position):
                if state.owner[topic] == who and index < ends[topic]:
                    is_known = topic < ALARMS and index >= state.known_from[topic]
                    answer = state.answered[index] if topic == ANSWERS else None
                    yield Flight(topic, index, 1, is_known, False, False, (), answer)  # noqa: FBT003 - a named tuple, by place for speed

    def _ends(self, state: State) -> tuple[int, ...]:
        logs = self._logs
        return len(logs[MAIN]), len(logs[OTHER]), state.alarms, len(state.answered)

    def _crash(self, state: State, who: int) -> list[State]:
        """A process is gone; the other one gets what it had."""
        dead = Consumer(state.consumers[who].life + 1, None, None)
        moved = [topic for topic, owner in enumerate(state.owner) if owner == who]
        crashed = _with(state, who, dead)._replace(
            owner=_four(1 - who if owner == who else owner for owner in state.owner),
            left=state.left._replace(crashes=state.left.crashes - 1),
        )
        return self._handed_over(crashed, moved)

    def _rebalance(self, state: State) -> list[State]:
        """All is given up and assigned anew; who works on something goes on, but too late."""
        first, second = (
            Consumer(each.life, each.flight and each.flight._replace(is_stale=True), None)
            for each in state.consumers
        )
        states = []
        for number in range(8):
            moved = state._replace(
                consumers=(first, second),
                owner=(number & 1, number >> 1 & 1, number >> 2, number >> 2),
                left=state.left._replace(rebalances=state.left.rebalances - 1),
            )
            if self._world.other or number >> 1 & 1:
                states += self._handed_over(moved, [MAIN, OTHER, ALARMS, ANSWERS])
        return states

    def _handed_over(self, state: State, topics: Sequence[int]) -> list[State]:
        """New owners read on from what was settled, or from the start if nothing was committed."""
        known_from = list(state.known_from)
        position = list(state.position)
        for topic in topics:
            position[topic] = 0
            if topic < ALARMS:
                known_from[topic] = len(self._logs[topic])
        state = state._replace(known_from=(known_from[0], known_from[1]))
        return [state, state._replace(position=_four(position))]

    # ---- one port call

    def _step(self, state: State, who: int, flight: Flight) -> list[State]:
        life = state.consumers[who].life
        state = _with(state, who, Consumer(life, flight, None))
        stop = self._stand(who, life, flight)
        assert stop.call is not None, "every delivery makes a call"
        states = []
        for answer, after in self._answers(state, stop.call):
            going_on = flight._replace(answers=(*flight.answers, answer))
            then = self._stand(who, life, going_on)
            if then.call is not None:
                states.append(_with(after, who, Consumer(life, going_on, None)))
            else:
                states += _settle(after, who, going_on, then.result)
        return states

    def _stand(self, who: int, life: int, flight: Flight) -> Stop:
        owner = f"{who}#{life}"
        stop = self._stops.get((owner, flight))
        if stop is None:
            chain = build_chain(self._parts, owner, in_place=self._world.in_place)
            delivery = self._delivery(flight)
            start = chain.move(delivery) if flight.is_move else chain(delivery)
            answers = [
                each.kind("planned") if isinstance(each, Raised) else each
                for each in flight.answers
            ]
            stop = self._stops[owner, flight] = stand(start, answers)
        return stop

    def _delivery(self, flight: Flight) -> Delivery:
        # All alarms are the same one: what it carries must not matter.
        number, redrives = self._world.log[0], 0
        record = make_record(number, flight.offset, TOPICS[flight.topic])
        if flight.answer is not None:
            number, redrives, is_discard = flight.answer
            record = _make_answer(number, flight.offset, redrives, is_discard=is_discard)
        elif flight.topic != ALARMS:
            number = self._logs[flight.topic][flight.offset]
            record = make_record(number, flight.offset, TOPICS[flight.topic])
        return Delivery(
            record,
            GROUP,
            1,
            flight.attempt,
            TYPE,
            _event_id(number),
            "",
            redrives,
            flight.is_known,
        )

    def _answers(self, state: State, call: Call) -> list[tuple[Any, State]]:
        """What a call may be answered, and the state after it."""
        if call[0] == "handle":
            return self._handle(state, _number(call[1]))
        answer, after = self._apply(state, call)
        answers = [(answer, after)]
        left = state.left
        if left.lost_answers and call[0] not in {"claim", "complete", "release"}:
            left = left._replace(lost_answers=left.lost_answers - 1)
            answers += [
                (Raised(Indeterminate), after._replace(left=left)),
                (Raised(Transient), state._replace(left=left)),
            ]
        return answers

    def _handle(self, state: State, number: int) -> list[tuple[Any, State]]:
        self._check_earlier(state.outcomes, number, "started")
        if number in self._world.permanent:
            return [(Raised(Permanent), state)]
        answers: list[tuple[Any, State]] = [(None, state)]
        failures = dict(state.left.failures)
        if failures.get(number):
            failures[number] -= 1
            left = state.left._replace(failures=tuple(failures.items()))
            answers.append((Raised(Transient), state._replace(left=left)))
        return answers

    def _apply(self, state: State, call: Call) -> tuple[Any, State]:
        name, *given = call
        if name == "publish":
            if given[0][0].topic == TOPICS[ANSWERS]:
                sent = dict(given[0][0].headers)
                copy = Answer(
                    _number(sent["ce_id"].decode()), int(sent[H_REDRIVES]), H_DISCARD in sent
                )
                return None, state._replace(answered=(*state.answered, copy))
            if ".retry" in given[0][0].topic:
                return None, state._replace(alarms=state.alarms + 1)
            headers = dict(given[0][0].headers)
            letter = (_number(headers["ce_id"].decode()), int(headers.get(H_REDRIVES, b"0")))
            return None, state._replace(letters=tuple(sorted({*state.letters, letter})))
        servers = Servers(state, self._parts.table)
        answer: Any
        if name == "outcome":
            found = servers.outcomes.find(*given)
            answer = None if found is None else (Outcome.DEAD, found)
            if found == DONE:
                answer = (Outcome.DONE, 0)
        elif name == "commit":
            answer = self._commit(state, servers.outcomes, given[0].outcome)
        elif name in {"claim", "complete", "release"}:
            answer = getattr(servers.dedupe, name)(*given)
        else:
            answer = at_once(getattr(MemoryKeyRetry(servers.table, servers.outage), name)(*given))
        return answer, servers.read(state)

    def _commit(self, state: State, outcomes: OutcomeTable, row: OutcomeRow) -> UnitVerdict:
        overruled = outcomes.overruled(row)
        if overruled is not None:
            return overruled
        if not row.is_dead:
            self._check_earlier(state.outcomes, _number(row.event_id), "done")
        outcomes.put(row, 0)
        return UnitVerdict.COMMITTED

    # ---- promises

    def _check_earlier(self, outcomes: Sequence[int | None], number: int, what: str) -> None:
        """Per key and topic, an event is not started before those ahead of it have an outcome."""
        for log in self._logs:
            for earlier in log[: log.index(number)] if number in log else ():
                if outcomes[earlier - 1] is None:
                    raise Broken(f"event {number} is {what} before {earlier} has an outcome")

    def _check(self, state: State) -> None:
        """While rows wait behind a live head, some record is left that will come for them."""
        if state.rows and not state.rows[0].is_dead:
            ends = self._ends(state)
            if all(at >= end for at, end in zip(state.position, ends, strict=True)):
                raise Broken("rows under a live head, and no record that will come for them")

    def _check_end(self, state: State, path: Path) -> None:
        """Nothing is lost, nothing is left but rows behind a dead head."""
        rows = [_number(row.event_id) for row in state.rows]
        is_dead = bool(state.rows) and state.rows[0].is_dead
        for number, outcome in enumerate(state.outcomes, start=1):
            if outcome is None and not (is_dead and number in rows):
                raise Broken(f"event {number} is lost: {_story(path)}")
            if outcome not in {None, DONE} and (number, outcome) not in state.letters:
                raise Broken(f"event {number} is dead without a letter: {_story(path)}")
        for number, redrives, is_discard in state.answered:
            outcome, waits = state.outcomes[number - 1], is_dead and number in rows[1:]
            if is_discard and number in rows:
                raise Broken(f"event {number} was discarded and is a row: {_story(path)}")
            if not is_discard and outcome != DONE and (outcome or 0) < redrives and not waits:
                raise Broken(f"event {number} was sent back in vain: {_story(path)}")
        if state.rows and not is_dead:
            raise Broken(f"rows {rows} are left under a live head: {_story(path)}")


class Servers:
    """The memory servers, set to what a state says."""

    def __init__(self, state: State, table: type[KeyRetryTable]) -> None:
        self._now = state.now
        self.outcomes = OutcomeTable(LONG_US)
        self.table = table(self.outcomes, self.now_us, None)
        self.outage = Outage("postgres")
        for place, row in enumerate(state.rows):
            if place:
                self.table.arrive(row)
            else:
                self.table.park(row)
        for number, found in enumerate(state.outcomes, start=1):
            if found is not None:
                dead_at = max(found, 0)
                row_ = OutcomeRow(
                    group=GROUP,
                    event_id=_event_id(number),
                    is_dead=found != DONE,
                    redrives=dead_at,
                )
                self.outcomes.put(row_, 0)
        self.dedupe = MemoryDedupeServer(self, window_us=LONG_US, accepts=accept_present)
        self._set_dedupe(state)

    def _set_dedupe(self, state: State) -> None:
        dedupe = self.dedupe
        for key in state.marks:
            claim = dedupe.claim(GROUP, key, "x", 1)
            dedupe.complete(GROUP, key, "x", claim.fence, LONG_US)
        fences = [0]
        for key, owner, fence, until in state.claims:
            dedupe._fence = fence - 1
            dedupe.claim(GROUP, key, owner, until - self._now)
            fences.append(fence)
        for consumer in state.consumers:
            if consumer.flight is not None:
                answers = consumer.flight.answers
                fences += [each.fence for each in answers if isinstance(each, Claim)]
        dedupe._fence = max(fences)

    def now_us(self) -> int:
        return self._now

    def wall_us(self) -> int:
        return self._now

    def call_at_us(self, when_us: int, callback: Callable[[], object]) -> Any:
        raise NotImplementedError

    def read(self, state: State) -> State:
        """`state` with what the servers hold now."""
        group = self.dedupe._groups.get(GROUP)
        held = {} if group is None else group.held
        ids = [_event_id(number) for number in range(1, len(state.outcomes) + 1)]
        return state._replace(
            rows=tuple(msgspec.structs.replace(row, arrival=0) for row in self.table.rows()),
            outcomes=tuple(self.outcomes.find(GROUP, each) for each in ids),
            claims=tuple(
                (key, held[key].owner, held[key].fence, held[key].until_us)
                for key in ids
                if key in held
            ),
            marks=tuple(key for key in ids if group and group.done.get(key) is not None),
        )


def build_chain(parts: Parts, owner: str, *, in_place: int) -> KeyLanes:
    """The links under test, as wiring composes them; the handler inside is one call."""
    orders, rows, publisher = AskedOrders(), AskedKeyRetry(), AskedPublisher()

    def now() -> int:
        return 0

    pen = Pen(process=owner, now=now)
    queue = DeadLetterQueue(publisher=publisher, group=GROUP, pen=pen)
    inbox = Inbox(orders, republish=queue.publish_again, pen=pen)

    async def handle(delivery: Delivery) -> Settlement:
        delivery.has_run = True
        await ask(("handle", delivery.event_id))
        await inbox.settle(delivery, Unit())
        return Ack("handled")

    async def on_dead(_order_id: str, _event_type: str) -> Unit:
        return Unit()

    dedupe = parts.dedupe(
        inbox.link(handle),
        store=AskedDedupe(),
        look=orders.outcome,
        owner=owner,
        lease_us=LEASE_US,
        window_us=LONG_US,
        is_open=True,
        pen=pen,
    )
    parking = parts.parking(store=rows, publisher=publisher, group=GROUP, tiers_us=(TIER_US,))
    retrying = Retrying(
        dedupe,
        policy=RetryPolicy(
            attempts_max=ATTEMPTS_MAX,
            in_place=in_place,
            base_us=1,
            cap_us=1,
            tiers_us=(TIER_US,),
            max_elapsed_us=LONG_US,
            again_us=1,
        ),
        budget=RetryBudget(10, 0.1),
        parking=parking,
        jitter=lambda _event_id, _attempt: 0.0,
        wall=now,
        pen=pen,
    )
    letters = DeadLetters(
        retrying,
        queue=queue,
        store=orders,
        on_dead=on_dead,
        reads=(TYPE,),
        limiter=Limiter(in_a_row=99, share_percent=100, pause_us=1, now=now),
        again_us=1,
        pen=pen,
    )
    return parts.lanes(
        letters,
        parking=parking,
        store=rows,
        group=GROUP,
        republish=queue.publish_again,
        look=orders.outcome,
        again_us=1,
        pen=pen,
    )


def make_record(number: int, offset: int, topic: str) -> Record:
    envelope = Envelope(
        id=_event_id(number),
        type=TYPE,
        source="orders",
        subject=KEY,
        time_us=0,
        data=b"{}",
        correlation_id="c",
        causation_id="c",
        sequence=number,
        traceparent="",
    )
    return Record(topic, 0, offset, KEY.encode(), b"{}", to_headers(envelope), 0)


def _make_answer(number: int, offset: int, redrives: int, *, is_discard: bool) -> Record:
    """What an operator publishes."""
    letter = Letter(
        group=GROUP,
        record=make_record(number, 0, "orders"),
        event_id=_event_id(number),
        event_type=TYPE,
        subject="",
        reason="",
        error="",
        message="",
        attempts=1,
        redrives=redrives - 1,
    )
    sent = to_record(letter, is_discard=is_discard)
    return Record(sent.topic, 0, offset, sent.key, sent.value, sent.headers, 0)


def _settle(state: State, who: int, flight: Flight, settlement: Settlement) -> list[State]:
    """What the delivery loop makes of a settlement."""
    life = state.consumers[who].life
    state = _with(state, who, Consumer(life, None, None))
    if flight.is_stale:
        return [state]
    again = flight._replace(answers=(), is_known=False, is_move=False)
    match settlement:
        case Ack():
            position = list(state.position)
            position[flight.topic] = flight.offset + 1
            states = [state._replace(position=_four(position))]
            if state.left.duplicates:
                left = state.left._replace(duplicates=state.left.duplicates - 1)
                twice = Consumer(life, None, Held(again._replace(attempt=1), state.now))
                states.append(_with(state, who, twice)._replace(left=left))
            return states
        case Retry(after_us=after_us, counts=counts):
            again = again._replace(attempt=flight.attempt + counts)
        case Release(pause_us=after_us):
            pass
        case _:
            raise Broken(f"the chain returned {settlement}")
    return [_with(state, who, Consumer(life, None, Held(again, state.now + after_us)))]


def _next_deadline(state: State) -> int | None:
    due = [row.not_before_us for row in state.rows]
    due += [until for *_, until in state.claims]
    due += [each.held.due for each in state.consumers if each.held is not None]
    return min((each for each in due if each > state.now), default=None)


def _only(state: State) -> list[State]:
    return [state]


def _forgotten(state: State) -> list[State]:
    """The dedupe store has lost everything."""
    return [state._replace(claims=(), marks=())]


def _key(state: State) -> Any:
    """Equal for states that cannot be told apart from here on."""
    now = state.now
    fences = {fence for _, _, fence, _ in state.claims}
    return state._replace(
        now=0,
        rows=tuple(_plain(row, now, fences) for row in state.rows),
        claims=tuple((key, owner, 0, max(until - now, 0)) for key, owner, _, until in state.claims),
        consumers=tuple(  # type: ignore[arg-type]  # no state, but what it is equal by
            (
                each.life,
                each.flight and _plain(tuple(each.flight), now, fences),
                each.held and (each.held.flight, max(each.held.due - now, 0)),
            )
            for each in state.consumers
        ),
    )


def _plain(value: Any, now: int, fences: set[int]) -> Any:
    """A value without what cannot matter any more: absolute times, numbers of lost fences."""
    if isinstance(value, WaitingRow):
        left = max(value.not_before_us - now, 0)
        return (value.event_id, value.attempts, left, value.is_dead, value.redrives)
    if isinstance(value, Claim):
        return (value.state, value.fence in fences, value.busy_us)
    if type(value) is not tuple:
        return value
    if len(value) == 2 and type(value[1]) is int and not isinstance(value[0], Outcome):
        # A head, and the time at which it was looked at.
        return (_plain(value[0], value[1], fences), value[1] - now)
    return tuple(_plain(each, now, fences) for each in value)


def _with(state: State, who: int, consumer: Consumer) -> State:
    first, second = state.consumers
    return state._replace(consumers=(first, consumer) if who else (consumer, second))


def _four(values: Iterator[int] | Sequence[int]) -> tuple[int, int, int, int]:
    first, second, third, fourth = values
    return first, second, third, fourth


def _event_id(number: int) -> str:
    return f"e{number}"


def _number(event_id: str) -> int:
    return int(event_id[1:])


def _story(path: Path) -> str:
    steps = []
    while path is not None:
        label, path = path
        steps.append(" ".join(str(part) for part in label))
    return "; ".join(reversed(steps))
