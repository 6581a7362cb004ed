"""The answer to a POST gets lost, the client sends it again, and the shop has two orders.

Neither side did anything wrong: each acted on the little that it knew.

So the client names its wish with an Idempotency-Key, and the answer is stored under it in the
transaction that stores what was wished: either both are there or none. A key that is there gives
the same answer again, or a refusal if it comes with another wish. It is remembered until it is cut
by its age; then it may be used anew. While its first request is running, a key is claimed in the
memory of this process only: the claim must die with its owner, a durable one would lock the client
out. Refusals are not stored: there is nothing to repeat.

The weak part ignores the header.

Source: IETF draft-ietf-httpapi-idempotency-key-header-07.
"""

import hashlib

import msgspec

from lab.domain.errors import Down, Indeterminate, Transient
from lab.history.pen import Pen
from lab.ports.store import HttpKeyRow, OrderStore, Unit, UnitVerdict
from lab.ports.strategies import HttpIdempotency, KeyRefusal, StoredAnswer


class StoredKeys(HttpIdempotency):
    """One answer per key, for as long as the store keeps it.

    Args:
        store: the order store, behind the patterns that wrap its `commit`.
        pen: for the history.
    """

    def __init__(self, *, store: OrderStore, pen: Pen) -> None:
        self._store = store
        self._process, self._now, self._write = pen.process, pen.now, pen.write
        self._running: dict[str, None] = {}

    async def commit(
        self, unit: Unit, *, key: str, body: bytes, answer: StoredAnswer
    ) -> StoredAnswer | KeyRefusal:
        if not key:
            return await _commit_plain(self._store, unit, answer)
        if key in self._running:
            return self._acted(unit, KeyRefusal.RUNNING)
        self._running[key] = None
        try:
            return await self._commit(unit, key, hashlib.sha256(body).hexdigest(), answer)
        finally:
            del self._running[key]

    async def misuse(self, *, key: str, body: bytes) -> KeyRefusal | None:
        try:
            row = await self._store.http_key(key)
        except (Transient, Down):
            return None
        is_other = row is not None and row.body_sha256 != hashlib.sha256(body).hexdigest()
        return KeyRefusal.OTHER_BODY if is_other else None

    async def _commit(
        self, unit: Unit, key: str, sha256: str, answer: StoredAnswer
    ) -> StoredAnswer | KeyRefusal:
        row = HttpKeyRow(key=key, body_sha256=sha256, status=answer.status, answer=answer.body)
        try:
            verdict = await self._store.commit(msgspec.structs.replace(unit, http_key=row))
        except Indeterminate:
            return await self._look(unit, key, sha256)
        if verdict is UnitVerdict.COMMITTED:
            return answer
        if verdict is UnitVerdict.KEY_TAKEN:
            return await self._look(unit, key, sha256)
        return KeyRefusal.EXISTS

    async def _look(self, unit: Unit, key: str, sha256: str) -> StoredAnswer | KeyRefusal:
        """The answer under the key, be it of this request or of an earlier one."""
        try:
            row = await self._store.http_key(key)
        except (Transient, Down):
            row = None
        if row is None:
            raise Indeterminate("nobody knows whether the order was stored: send it again")
        if row.body_sha256 != sha256:
            return self._acted(unit, KeyRefusal.OTHER_BODY)
        if self._write is not None:
            self._tell(unit, "replayed")
        return StoredAnswer(status=row.status, body=row.answer)

    def _acted(self, unit: Unit, refusal: KeyRefusal) -> KeyRefusal:
        if self._write is not None:
            self._tell(unit, refusal.value)
        return refusal

    def _tell(self, unit: Unit, what: str) -> None:
        assert self._write is not None
        self._write(
            ("acted", self._now(), self._process, unit.lab_subject, "http_idempotency", what)
        )


class IgnoredKeys(HttpIdempotency):
    """The weak part: every request is a new wish."""

    def __init__(self, *, store: OrderStore, **_: object) -> None:
        self._store = store

    async def misuse(self, *, key: str, body: bytes) -> KeyRefusal | None:  # noqa: ARG002 - the port's shape
        return None

    async def commit(
        self,
        unit: Unit,
        *,
        key: str,  # noqa: ARG002 - the port's shape
        body: bytes,  # noqa: ARG002 - the port's shape
        answer: StoredAnswer,
    ) -> StoredAnswer | KeyRefusal:
        return await _commit_plain(self._store, unit, answer)


async def _commit_plain(
    store: OrderStore, unit: Unit, answer: StoredAnswer
) -> StoredAnswer | KeyRefusal:
    """Commit without a key; if the answer is lost, the order's own id tells."""
    try:
        verdict = await store.commit(unit)
    except Indeterminate:
        try:
            if unit.create is not None and await store.load(unit.order_id) is not None:
                return answer
        except (Transient, Down):
            # Not "nothing was stored", which these would mean to the caller.
            pass
        raise Indeterminate("nobody knows whether the order was stored") from None
    return answer if verdict is UnitVerdict.COMMITTED else KeyRefusal.EXISTS
