"""The two ends of the chain around a handler: the type filter outside, the handler's run inside.

Not here: the links in between (`lab.patterns`), which are handed in by wiring.
"""

import asyncio
from collections.abc import Awaitable, Callable, Container, Mapping
from typing import Final, Protocol

from lab.bus.facts import record_digest
from lab.domain.content_mode import as_readable, in_binary_mode, is_event
from lab.domain.envelope import H_TYPE, Envelope, from_headers, header
from lab.domain.errors import Indeterminate, LabError, Poison, Unclassified
from lab.domain.events import PAYLOADS, Payload
from lab.history.pen import Pen
from lab.ports.bus import Ack, Delivery, Handle, Record, Settlement, main_topic
from lab.ports.parking import is_parked, origin_of
from lab.ports.service import Context, Handler
from lab.ports.store import Unit, UnitVerdict

HANDLED: Final = Ack("handled")
UNREAD: Final = Ack("unread")
UNKNOWN: Final = Ack("unknown")
_EMPTY: Final = Unit()


class TypeFilter:
    """The outermost link: acknowledges types that the group does not read, without a look inside.

    An event of a type that nobody here knows is acknowledged too: a newer program may publish it
    before this one is replaced. A record that is no event passes inward and is found to be poison
    there. Records of retry topics pass: somebody has begun to handle them. A record without a
    usable event id gets its origin's coordinates as one, so that it can have an outcome.

    Args:
        inner: the next link.
        reads: the event types that the group handles.
        move: takes a delivery that a drain moves to the retry path.
    """

    def __init__(self, inner: Handle, *, reads: Container[str], move: Handle) -> None:
        self._inner = inner
        self._unread = frozenset(kind for kind in PAYLOADS if kind not in reads)
        self._skipped = frozenset(kind.encode() for kind in self._unread)
        self._move = move

    def skips(self, record: Record) -> bool:
        """Whether a record would be acknowledged unread: the same rule, before it is a delivery."""
        return header(record.headers, H_TYPE) in self._skipped and not is_parked(record)

    def __call__(self, delivery: Delivery) -> Awaitable[Settlement]:
        """See `Handle`."""
        return self._pass(delivery, self._inner)

    def move(self, delivery: Delivery) -> Awaitable[Settlement]:
        """Move a delivery that is not running to the retry path; counts no attempt."""
        return self._pass(delivery, self._move)

    def _pass(self, delivery: Delivery, onward: Handle) -> Awaitable[Settlement]:
        # No coroutine of its own: every delivery passes here.
        if not is_parked(delivery.record):
            if delivery.event_type in self._unread:
                return _acknowledged(UNREAD)
            if delivery.event_type not in PAYLOADS and _is_of_a_new_type(delivery.record):
                return _acknowledged(UNKNOWN)
        if not delivery.event_id:
            delivery.event_id = origin_of(delivery.record)
        return onward(delivery)


async def _acknowledged(settlement: Settlement) -> Settlement:
    return settlement


def _is_of_a_new_type(record: Record) -> bool:
    """Whether a record of a type that is not known here is an event all the same."""
    headers, _ = as_readable(record.headers, record.value)
    return is_event(headers)


class Settler(Protocol):
    """Commits the decisions of a handler; the pattern `inbox` and its weak part are such."""

    async def save(self, delivery: Delivery, unit: Unit) -> UnitVerdict:
        """Commit an intermediate step. See `lab.ports.service.Context.save`."""
        ...

    async def settle(self, delivery: Delivery, unit: Unit) -> UnitVerdict:
        """Commit the end of the run. See `lab.ports.service.Context.settle`."""
        ...


class Watch(Protocol):
    """The deadline of one run; the pattern `timeout` and its weak part make such."""

    @property
    def deadline_us(self) -> int:
        """When the run is to end, on the process's monotonic clock."""
        ...

    def close(self) -> bool:
        """The run has ended. True if it was cancelled for its deadline, and for nothing else."""
        ...


class HandlerRun(Context):
    """One run of a handler, as the handler sees it.

    Attributes:
        is_settled: `settle` has committed.
    """

    __slots__ = (
        "_delivery",
        "_settler",
        "attempt",
        "deadline_us",
        "envelope",
        "is_settled",
        "redrives",
    )

    def __init__(
        self, delivery: Delivery, envelope: Envelope, settler: Settler, deadline_us: int
    ) -> None:
        self.envelope = envelope
        self.attempt = delivery.attempt
        self.redrives = delivery.redrives
        self.deadline_us = deadline_us
        self.is_settled = False
        self._delivery = delivery
        self._settler = settler

    async def save(self, unit: Unit) -> UnitVerdict:
        return await self._settler.save(self._delivery, unit)

    async def settle(self, unit: Unit) -> UnitVerdict:
        assert not self.is_settled, "a handler settles once"
        verdict = await self._settler.settle(self._delivery, unit)
        self.is_settled = verdict is UnitVerdict.COMMITTED
        return verdict


class Invoke:
    """The innermost link: decodes the record and runs the handler of its type.

    It notes on the delivery that a handler was started. Returns `HANDLED`, or raises a `LabError`;
    anything else that a handler raises becomes `Unclassified`. Cancellation passes, unless it was
    the deadline's: that is Indeterminate, because the call that the handler was waiting for may
    have had its effect.

    Args:
        handlers: of the service, by event type.
        decode: payload of (type, bytes); raises Poison.
        settler: commits for the handlers.
        watch: begins the watch over one run in the current task.
        pen: for the history.
    """

    def __init__(
        self,
        *,
        handlers: Mapping[str, Handler],
        decode: Callable[[str, bytes], Payload],
        settler: Settler,
        watch: Callable[[], Watch],
        pen: Pen,
    ) -> None:
        self._handlers = handlers
        self._decode = decode
        self._settler = settler
        self._watch = watch
        self._process, self._now, self._write = pen.process, pen.now, pen.write

    async def __call__(self, delivery: Delivery) -> Settlement:
        """See `Handle`."""
        record = delivery.record
        envelope = from_headers(*in_binary_mode(record.headers, record.value))
        handler = self._handlers.get(envelope.type)
        if handler is None:
            raise Poison(f"no handler for events of type {ascii(envelope.type)[:80]}")
        payload = self._decode(envelope.type, envelope.data)
        watch = self._watch()
        run = HandlerRun(delivery, envelope, self._settler, watch.deadline_us)
        if self._write is not None:
            self._began(delivery, envelope, watch.deadline_us)
        result = "ok"
        delivery.has_run = True
        try:
            await handler(payload, run)
            if not run.is_settled:
                await run.settle(_EMPTY)
        except asyncio.CancelledError:
            result = "cancelled"
            if not watch.close():
                raise
            result = Indeterminate.__name__
            raise Indeterminate("the handler overran its deadline") from None
        except LabError as error:
            result = type(error).__name__
            watch.close()
            raise
        except Exception as error:
            # The one place where a service's own mistakes come out: they are retried a few times.
            result = Unclassified.__name__
            watch.close()
            raise Unclassified(str(error), kind=type(error).__name__) from error
        finally:
            if self._write is not None:
                self._ended(delivery, result)
        watch.close()
        return HANDLED

    def _began(self, delivery: Delivery, envelope: Envelope, deadline_us: int) -> None:
        assert self._write is not None
        record = delivery.record
        self._write(
            (
                "handle.begin",
                self._now(),
                self._process,
                delivery.subject,
                delivery.group,
                delivery.event_id,
                delivery.event_type,
                delivery.attempt,
                envelope.sequence,
                deadline_us,
                main_topic(record.topic),
                delivery.epoch,
                record_digest(record),
                delivery.redrives,
            )
        )

    def _ended(self, delivery: Delivery, result: str) -> None:
        assert self._write is not None
        self._write(
            (
                "handle.end",
                self._now(),
                self._process,
                delivery.subject,
                delivery.group,
                delivery.event_id,
                delivery.event_type,
                delivery.attempt,
                result,
                delivery.redrives,
            )
        )
