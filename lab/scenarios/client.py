"""The shop's client: posts each intended order once, and again until it is answered.

A client that got no answer cannot know whether its request was executed, so it repeats it under the
same Idempotency-Key. Faults on its side (`client.*`) are asked of `ClientFaults`. Not here:
which orders there are (`workload`).
"""

import hashlib
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from lab.history.recorder import Write
from lab.ports.clock import Clock
from lab.ports.http import HttpAnswer, HttpCaller
from lab.scenarios.workload import PlannedOrder

_JSON: Final = ("content-type", "application/json")
_RETRY_SEND: Final = 100
_OTHER_SEND: Final = 1_000_000
"""Number of the send with another body: no repetition ever has it."""
SHED: Final = "shed"


class ClientFaults(Protocol):
    """The mistakes that a client makes on purpose."""

    def retries_same_key(self, subject: str) -> bool:
        """Send the request again although it was answered."""
        ...

    def changes_body(self, subject: str) -> bool:
        """Ask for something else under the key of the order that was accepted."""
        ...

    def abandons_after_us(self, subject: str) -> int | None:
        """Leave so long after the order was sent, and never ask again; None: wait."""
        ...

    def double_submits(self, subject: str) -> bool:
        """Send it twice at once, without a key: two intents as far as anybody can tell."""
        ...

    def cancels_after_us(self, subject: str) -> int | None:
        """Cancel the order so long after it was accepted; None: never."""
        ...


class ProblemReason(msgspec.Struct, frozen=True):
    """One reason of a refusal."""

    reason: str = ""


class ProblemBody(msgspec.Struct, frozen=True):
    """The part of a problem+json body that a client reads."""

    type: str = ""
    errors: tuple[ProblemReason, ...] = ()


class _Accepted(msgspec.Struct, frozen=True):
    order_id: str


class _Line(msgspec.Struct, frozen=True, gc=False):
    """One item, with its fields in the order in which a third party counts them."""

    sku: str
    quantity: int
    unit_price_cents: int


class _Order(msgspec.Struct, frozen=True):
    """The part of an order that others are asked about later on."""

    customer_id: str
    items: tuple[_Line, ...]


@dataclass(slots=True)
class Tally:
    """Counts of intents by their end. `open` holds those that were not answered yet, by ordinal."""

    submitted: int = 0
    accepted: int = 0
    refused_by_reason: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    open: dict[str, str] = field(default_factory=dict)


_problem = msgspec.json.Decoder(ProblemBody, strict=False).decode
_accepted = msgspec.json.Decoder(_Accepted, strict=False).decode
_order = msgspec.json.Decoder(_Order).decode
_encode = msgspec.json.Encoder().encode


class Client:
    """Sends orders over HTTP and keeps the tally of its intents."""

    def __init__(
        self,
        *,
        http: HttpCaller,
        clock: Clock,
        faults: ClientFaults,
        write: Write,
        timeout_us: int,
        retry_us: int,
    ) -> None:
        self._http = http
        self._clock = clock
        self._faults = faults
        self._write = write
        self._timeout_us = timeout_us
        self._retry_us = retry_us
        self._give_up = False
        self.tally = Tally()

    def give_up(self) -> None:
        """Repeat nothing any more: the drain deadline of the run has passed."""
        self._give_up = True

    async def place(self, order: PlannedOrder) -> None:
        """Post one intended order, until it is answered or `give_up` was called."""
        subject = f"{order.ordinal}.1"
        if self._faults.double_submits(subject):
            await self._intent(order, key="", first_send=1)
            await self._intent(order, key="", first_send=2)
            return
        leaves_us = self._faults.abandons_after_us(subject)
        if leaves_us is not None:
            await self._abandon(order, leaves_us)
            return
        accepted = await self._intent(order, key=order.key, first_send=1)
        if accepted is None:
            return
        if self._faults.retries_same_key(subject):
            await self._send(order, key=order.key, send=_RETRY_SEND)
        if self._faults.changes_body(subject):
            await self._send(_changed(order), key=order.key, send=_OTHER_SEND)
        after_us = self._faults.cancels_after_us(subject)
        if after_us is not None:
            await self._clock.sleep_us(after_us)
            await self._cancel(order, accepted)

    async def _intent(self, order: PlannedOrder, *, key: str, first_send: int) -> str | None:
        """The id of the accepted order; None if it was refused or never answered."""
        tally = self.tally
        tally.submitted += 1
        send = first_send
        name = f"{order.ordinal}.{first_send}"
        tally.open[name] = key
        while True:
            answer = await self._send(order, key=key, send=send)
            if answer is not None and answer.status < 300:
                del tally.open[name]
                tally.accepted += 1
                return _accepted(answer.body).order_id
            if answer is not None and not _is_indeterminate(answer) and not _is_shed(answer):
                del tally.open[name]
                tally.refused += 1
                tally.refused_by_reason.update(_reasons(answer))
                return None
            if self._give_up or not key:
                return None
            await self._clock.sleep_us(self._retry_us)
            send += 1

    async def _abandon(self, order: PlannedOrder, leaves_us: int) -> None:
        """Send the order once and hang up: the client never hears of it again.

        The run waits as long as the client would have: its request is on its way.
        """
        self.tally.submitted += 1
        self.tally.open[f"{order.ordinal}.1"] = order.key
        leaves_us = min(leaves_us, self._timeout_us)
        await self._send(order, key=order.key, send=1, leaves_us=leaves_us)
        await self._clock.sleep_us(self._timeout_us - leaves_us)

    async def _send(
        self, order: PlannedOrder, *, key: str, send: int, leaves_us: int | None = None
    ) -> HttpAnswer | None:
        """Its answer; None if there was none in time, or if the client left before it read it."""
        subject = f"{order.ordinal}.{send}"
        digest = hashlib.blake2b(order.body, digest_size=8).hexdigest()
        now, write = self._clock.now_us, self._write
        customer, goods = _asked(order.body)
        write(
            ("http.begin", now(), "client", subject, "create", key, digest, send, customer, goods)
        )
        headers: tuple[tuple[str, str], ...] = (_JSON, ("lab-subject", subject))
        if order.sender:
            headers = (*headers, ("from", order.sender))
        if key:
            headers = (*headers, ("idempotency-key", key))
        timeout_us = self._timeout_us if leaves_us is None else leaves_us
        answer = await self._http.request(
            "POST", "/orders", headers=headers, body=order.body, timeout_us=timeout_us
        )
        if leaves_us is not None:
            answer = None
        status, problem, made = _told(answer)
        write(
            (
                "http.end",
                now(),
                "client",
                subject,
                "create",
                key,
                digest,
                send,
                status,
                problem,
                made,
            )
        )
        return answer

    async def _cancel(self, order: PlannedOrder, order_id: str) -> None:
        """Ask for the cancellation until there is an answer to it."""
        now, write = self._clock.now_us, self._write
        send = 0
        while not self._give_up:
            send += 1
            subject = f"{order.ordinal}.1"
            write(("http.begin", now(), "client", subject, "cancel", "", "", send, "", 0))
            answer = await self._http.request(
                "POST",
                f"/orders/{order_id}/cancel",
                headers=(_JSON, ("lab-subject", subject)),
                body=b"",
                timeout_us=self._timeout_us,
            )
            status, problem, made = _told(answer)
            write(
                (
                    "http.end",
                    now(),
                    "client",
                    subject,
                    "cancel",
                    "",
                    "",
                    send,
                    status,
                    problem,
                    made,
                )
            )
            if answer is not None and answer.status < 500:
                return
            await self._clock.sleep_us(self._retry_us)


def _asked(body: bytes) -> tuple[str, int]:
    """Customer and goods of an order as the history has them; `"", 0` if it is none."""
    try:
        order = _order(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "", 0
    return order.customer_id, zlib.crc32(_encode(order.items))


def _changed(order: PlannedOrder) -> PlannedOrder:
    """The same order with one more of its first item: another body."""
    body = msgspec.json.decode(order.body)
    body["items"][0]["quantity"] += 1
    return msgspec.structs.replace(order, body=msgspec.json.encode(body))


def _is_shed(answer: HttpAnswer) -> bool:
    """Whether the API said that it stored nothing because it was not ready to."""
    return answer.status == 503 and _problem_type(answer) == SHED


def _is_indeterminate(answer: HttpAnswer) -> bool:
    return answer.status >= 500 or answer.status == 409


def _problem_type(answer: HttpAnswer) -> str:
    try:
        return _problem(answer.body).type.rsplit("/", 1)[-1].rsplit(":", 1)[-1]
    except msgspec.DecodeError:
        return ""


def _reasons(answer: HttpAnswer) -> set[str]:
    """The distinct reasons of a refusal, or its status if it names none."""
    try:
        found = {reason.reason for reason in _problem(answer.body).errors if reason.reason}
    except msgspec.DecodeError:
        found = set()
    return found or {f"status_{answer.status}"}


def _told(answer: HttpAnswer | None) -> tuple[int, str, str]:
    """Status, problem type and order id of an answer, as the history keeps them."""
    if answer is None:
        return 0, "", ""
    if answer.status < 300:
        return answer.status, "", _accepted(answer.body).order_id
    return answer.status, _problem_type(answer), ""
