"""Validation: three questions at once, one decision, whatever else happens to the order."""

from collections.abc import Callable
from typing import Any

import pytest

from lab.domain.errors import Transient
from lab.domain.order import Item, OrderState
from lab.ports.providers import Antifraud, Warehouse
from lab.ports.store import CustomerStore
from lab.runtime.processes import AsyncTasks
from lab.runtime.virtual_loop import Scheduler, sleep_us
from lab.services.validation import Validation
from tests.kit.order_world import EXPIRY, ID, SECOND, TIMEOUT, World

S = OrderState


class Answers(Warehouse, Antifraud, CustomerStore):
    """Third parties that say what a test wants, each after a delay; an error is raised."""

    def __init__(self) -> None:
        self.says: dict[str, tuple[bool | Exception, int]] = {
            "stock": (True, 1),
            "fraud": (False, 1),
            "blocked": (False, 1),
        }
        self.asked: list[str] = []
        self.answered: list[str] = []
        self.deadlines: list[int] = []
        self.meanwhile: Callable[[], object] | None = None

    async def in_stock(self, order_id: str, items: tuple[Item, ...], *, deadline_us: int) -> bool:
        assert (order_id, len(items)) == (ID, 1)
        return await self._answer("stock", deadline_us)

    async def is_fraud(
        self, order_id: str, customer_id: str, amount_cents: int, *, deadline_us: int
    ) -> bool:
        assert (order_id, customer_id, amount_cents) == (ID, "C1", 900)
        return await self._answer("fraud", deadline_us)

    async def is_blocked(self, order_id: str, customer_id: str, *, deadline_us: int) -> bool:
        assert (order_id, customer_id) == (ID, "C1")
        return await self._answer("blocked", deadline_us)

    async def _answer(self, who: str, deadline_us: int) -> bool:
        self.asked.append(who)
        self.deadlines.append(deadline_us)
        answer, delay_us = self.says[who]
        await sleep_us(delay_us)
        if self.meanwhile is not None:
            self.meanwhile()
            self.meanwhile = None
        self.answered.append(who)
        if isinstance(answer, Exception):
            raise answer
        return answer


def make_validation(world: World) -> tuple[Validation, Answers]:
    answers = Answers()
    service = Validation(
        store=world.store,
        customers=answers,
        warehouse=answers,
        antifraud=answers,
        tasks=AsyncTasks(),
        clock=world,
        timeout_us=TIMEOUT,
        note=world.note,
    )
    return service, answers


def validate(world: World, service: Validation, **options: Any) -> None:
    with Scheduler(seed=1) as scheduler:
        scheduler.run(world.start(service, world.events[0], **options))


def test_an_order_without_objections_is_validated() -> None:
    world = World()
    world.create()
    service, answers = make_validation(world)
    validate(world, service)
    assert world.state is S.VALIDATED
    event = world.events[-1]
    assert (event.type, event.sequence) == ("OrderValidated", 2)
    assert event.expires_us == world.order().expires_us
    assert answers.asked == ["stock", "fraud", "blocked"]
    assert answers.deadlines == [TIMEOUT] * 3


@pytest.mark.parametrize(
    ("who", "answer", "reason"),
    [
        ("stock", False, b"out_of_stock"),
        ("fraud", True, b"fraud"),
        ("blocked", True, b"customer_blocked"),
    ],
)
def test_one_objection_rejects_and_ends_the_other_questions(
    who: str, answer: object, reason: bytes
) -> None:
    world = World()
    world.create()
    service, answers = make_validation(world)
    answers.says = {name: (says, 1_000) for name, (says, _) in answers.says.items()}
    answers.says[who] = (bool(answer), 1)
    validate(world, service)
    assert world.state is S.REJECTED
    assert reason in world.events[-1].data
    assert answers.answered == [who]


def test_a_decisive_answer_outweighs_a_later_error() -> None:
    world = World()
    world.create()
    service, answers = make_validation(world)
    answers.says["fraud"] = (True, 1)
    answers.says["stock"] = (Transient("the warehouse answered 503"), 1_000)
    validate(world, service)
    assert world.state is S.REJECTED


def test_an_error_without_a_decision_is_tried_again() -> None:
    world = World()
    world.create()
    service, answers = make_validation(world)
    answers.says["fraud"] = (Transient("antifraud answered 503"), 5)
    with pytest.raises(Transient):
        validate(world, service)
    assert (world.state, world.outcome(service, world.events[0])) == (S.PENDING, "")
    answers.says["fraud"] = (False, 5)
    validate(world, service, attempt=2)
    assert world.told() == ["OrderCreated", "OrderValidated"]


def test_the_handlers_deadline_limits_the_questions() -> None:
    world = World()
    world.create()
    service, answers = make_validation(world)
    validate(world, service, handler_us=SECOND)
    assert answers.deadlines == [SECOND] * 3


def test_an_order_that_was_cancelled_is_stale_and_nobody_is_asked() -> None:
    world = World()
    world.create()
    world.cancel()
    service, answers = make_validation(world)
    validate(world, service)
    assert (world.state, world.notes, answers.asked) == (S.CANCELLED, ["stale"], [])
    assert world.outcome(service, world.events[0]) == "done"


def test_an_order_that_is_cancelled_meanwhile_stays_cancelled() -> None:
    world = World()
    world.create()
    service, answers = make_validation(world)
    answers.meanwhile = world.cancel
    validate(world, service)
    assert (world.state, world.notes) == (S.CANCELLED, ["stale"])
    assert len(answers.asked) == 3


def test_an_expired_order_is_left_to_the_timer() -> None:
    world = World()
    world.create()
    world.pass_us(EXPIRY)
    service, answers = make_validation(world)
    validate(world, service)
    assert (world.state, world.notes, answers.asked) == (S.PENDING, ["expired"], [])
    assert world.outcome(service, world.events[0]) == "done"


def test_an_order_that_is_not_stored_yet_is_tried_again() -> None:
    world, later = World(), World()
    later.create()
    service, _ = make_validation(world)
    with Scheduler(seed=1) as scheduler, pytest.raises(Transient):
        scheduler.run(world.start(service, later.events[0]))


def test_a_dead_validation_leaves_the_order_to_expire() -> None:
    world = World()
    world.create()
    service, _ = make_validation(world)
    world.die(service, world.events[0])
    assert (world.state, world.outcome(service, world.events[0])) == (S.PENDING, "dead")
