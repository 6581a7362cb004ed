"""Bugs about cancels under an Idempotency-Key: it is ignored, told too little, looked at late."""

from typing import Final

from lab.api_problems import HttpProblem, not_made
from lab.patterns.http_idempotency import StoredKeys
from lab.ports.store import Unit
from lab.ports.strategies import KeyRefusal, StoredAnswer
from lab.services.orders import Cancelled, OrdersUseCases
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()

OF_THE_ORDER: Final = Setup(faults=("client.cancel#every5 first=1 after=2s key=order",))
OF_AN_OPEN_ORDER: Final = Setup(faults=("client.cancel#every5 first=1 after=1ms key=order",))
SHARED: Final = Setup(faults=("client.cancel#every5 first=1 after=1ms..20ms key=shared",))
REPEATED: Final = Setup(
    faults=("client.cancel#every15 first=1 after=1ms times=3 pause=500ms key=own",)
)


@BUGS.plant(
    "idempotency-key",
    "lab.wiring.process.roles.OrdersUseCases",
    setup=OF_AN_OPEN_ORDER,
    witness="its cancel was granted under the key of another wish that was granted",
)
class KeysAreForOrders(OrdersUseCases):
    """A cancel is idempotent by itself, so nobody looks at its key."""

    async def cancel(self, order_id: str, *, key: str = "") -> Cancelled | KeyRefusal:
        del key
        return await super().cancel(order_id)


@BUGS.plant(
    "idempotency-key",
    "lab.wiring.policy.Switches.http_idempotency.strong",
    setup=OF_THE_ORDER,
    witness="its cancel under the key of another wish was answered with 409",
)
class KeysThatTheCommitFinds(StoredKeys):
    """Whether a key stands for something else shows at the commit, if there is one."""

    async def misuse(self, *, key: str, body: bytes) -> KeyRefusal | None:
        del key, body
        return None


@BUGS.plant(
    "idempotency-key",
    "lab.wiring.policy.Switches.http_idempotency.strong",
    setup=SHARED,
    witness="its cancel was granted under the key of another wish that was granted",
    falls={"accepted-is-durable": "the answer about another order is given, and nothing is stored"},
)
class AWishWithoutItsOrder(StoredKeys):
    """A cancel has no body, so there is nothing to tell one from another."""

    async def misuse(self, *, key: str, body: bytes) -> KeyRefusal | None:
        return await super().misuse(key=key, body=body[:6])

    async def commit(
        self, unit: Unit, *, key: str, body: bytes, answer: StoredAnswer
    ) -> StoredAnswer | KeyRefusal:
        is_cancel = body.startswith(b"cancel")
        return await super().commit(
            unit, key=key, body=body[:6] if is_cancel else body, answer=answer
        )


@BUGS.plant(
    "idempotency-key",
    "lab.wiring.policy.Switches.http_idempotency.strong",
    setup=REPEATED,
    witness="its cancel was refused by its key, which stands for nothing else",
)
class OnceIsEnough(StoredKeys):
    """A key that is known is refused, whatever it stands for."""

    async def misuse(self, *, key: str, body: bytes) -> KeyRefusal | None:
        del body
        known = await self._store.http_key(key)
        return None if known is None else KeyRefusal.OTHER_BODY


@BUGS.plant(
    "idempotency-key",
    "lab.api.not_made",
    setup=OF_THE_ORDER,
    witness="its cancel was put off, and no other request under its key was under way",
)
def every_refusal_is_a_running_one(why: KeyRefusal) -> HttpProblem:
    """There is one answer to a key that is in use: come again later."""
    del why
    return not_made(KeyRefusal.RUNNING)
