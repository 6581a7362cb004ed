"""The shop's client: posts each intended order once, and again until it is answered.

A client that got no answer cannot know whether its request was executed, so it repeats it under the
same Idempotency-Key. Faults on its side (`client.*`) are asked of `ClientFaults`. Not here:
which orders there are (`workload`).
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

from lab.history.contents import (
    asked_by,
    broken_fields,
    customer_of,
    is_sound,
    is_unsound,
    may_be_why,
    short_digest,
)
from lab.history.recorder import Write
from lab.history.requests import SLIP_SEND
from lab.ports.clock import Clock
from lab.ports.http import HttpAnswer, HttpCaller
from lab.scenarios.file_tally import FileTally
from lab.scenarios.looking import Looker, header
from lab.scenarios.unsound import changed, large, unsound, with_a_slip
from lab.scenarios.workload import PlannedOrder

_JSON: Final = ("content-type", "application/json")
_RETRY_SEND: Final = 100
_OTHER_SEND: Final = 1_000_000
"""Number of the send with another body: no repetition ever has it."""
_UNSOUND_SEND: Final = 2_000_000
_LARGE_SEND: Final = 3_000_000
_ALSO: Final = (_UNSOUND_SEND, _LARGE_SEND)
SHED: Final = "shed"
RUNNING: Final = "idempotency-key-running"
REFUSED: Final = "order-refused"
_AGAIN: Final = (SHED, "indeterminate")
_AGAIN_S_MAX: Final = 60
"""Problems after which a client is to ask again, and how long at most it may be told to wait."""


class ClientFaults(Protocol):
    """The mistakes that a client makes on purpose."""

    def retries_same_key(self, subject: str) -> bool:
        """Send the request again although it was answered."""
        ...

    def changes_body(self, subject: str) -> bool:
        """Ask for something else under the key of the order that was accepted."""
        ...

    def breaks_a_rule(self, subject: str) -> bool:
        """Ask for an order too that the shop must refuse."""
        ...

    def asks_for_much(self, subject: str) -> str:
        """Ask for a large order too: the `most` that the shop takes, or `more`; "": do not."""
        ...

    def abandons_after_us(self, subject: str) -> int | None:
        """Leave so long after the order was sent, and never ask again; None: wait."""
        ...

    def double_submits(self, subject: str) -> bool:
        """Send it twice at once, without a key: two intents as far as anybody can tell."""
        ...

    def cancels(self, subject: str) -> tuple[int, int, int, str, bool] | None:
        """Cancel the order so long after it was accepted, so often, so far apart; None: never.

        The word is the Idempotency-Key: `none`, its `own`, that of the `order` (which is wrong), or
        one that is `shared` by all cancels (which is wrong, too). Last, whether the client asks
        with a wrong id first.
        """
        ...

    def looks(self, subject: str) -> tuple[int, int] | None:
        """Look at the order so often after it was accepted, so far apart; None: never."""
        ...

    def has_lookers(self) -> bool:
        """Whether any client of the run may look at its order."""
        ...


class ProblemReason(msgspec.Struct, frozen=True):
    """One reason of a refusal."""

    reason: str = ""
    field: str = ""


class ProblemBody(msgspec.Struct, frozen=True):
    """The part of a problem+json body that a client reads."""

    type: str = ""
    errors: tuple[ProblemReason, ...] = ()


class _Accepted(msgspec.Struct, frozen=True):
    order_id: str


@dataclass(slots=True)
class Tally:
    """Counts of intents by their end. `open` holds those that were not answered yet, by ordinal.

    `file` is about orders of a file only.
    """

    submitted: int = 0
    accepted: int = 0
    refused_by_reason: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    open: dict[str, str] = field(default_factory=dict)
    file: FileTally = field(default_factory=FileTally)


_problem = msgspec.json.Decoder(ProblemBody, strict=False).decode
_accepted = msgspec.json.Decoder(_Accepted, strict=False).decode


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
        self._eye: Looker | None = None
        if faults.has_lookers():
            self._eye = Looker(http=http, clock=clock, write=write, timeout_us=timeout_us)
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
        order_id, looks = _order_id(accepted), self._faults.looks(subject)
        if looks is None or self._eye is None:
            await self._afterwards(order, order_id)
            return
        look = self._eye.at(subject, order_id, accepted, customer_of(order.body))
        await look.again()
        await self._afterwards(order, order_id)
        times, pause_us = looks
        for more in range(times - 1):
            if more:
                await self._clock.sleep_us(pause_us)
            if self._give_up:
                return
            await look.again()

    async def _afterwards(self, order: PlannedOrder, order_id: str) -> None:
        """Whatever else the client asks for once its order was accepted."""
        subject = f"{order.ordinal}.1"
        if self._faults.retries_same_key(subject):
            await self._send(order, key=order.key, send=_RETRY_SEND)
        if self._faults.changes_body(subject):
            other = replace(order, body=changed(order.body, order.ordinal))
            await self._send(other, key=order.key, send=_OTHER_SEND)
        if self._faults.breaks_a_rule(subject):
            await self._also(order, unsound(order.body, order.ordinal), _UNSOUND_SEND)
        much = self._faults.asks_for_much(subject)
        if much:
            await self._also(order, large(order.body, order.ordinal, much), _LARGE_SEND)
        cancel = self._faults.cancels(subject)
        if cancel is not None:
            after_us, times, pause_us, word, slips = cancel
            await self._clock.sleep_us(after_us)
            if slips:
                await self._cancel(order, with_a_slip(order_id), 1, 0, "", first_send=SLIP_SEND)
            await self._cancel(order, order_id, times, pause_us, _key_of_cancel(order, word))

    async def _also(self, order: PlannedOrder, body: bytes, send: int) -> None:
        """Ask for something else too, once and without a key."""
        # No line of a file: nobody wrote that.
        other = replace(order, body=body, key="", line=0)
        await self._intent(other, key="", first_send=send)

    async def _intent(self, order: PlannedOrder, *, key: str, first_send: int) -> HttpAnswer | None:
        """The answer that accepted the order; None if it was refused or never answered."""
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
                if order.line:
                    tally.file.accepted(order)
                if self._eye is not None:
                    self._eye.accepted(_order_id(answer), customer_of(order.body))
                return answer
            if answer is not None and not _is_indeterminate(answer) and not _is_shed(answer):
                del tally.open[name]
                tally.refused += 1
                reasons = _reasons(answer)
                tally.refused_by_reason.update({why for why, _ in reasons})
                if order.line:
                    tally.file.refuse(order, reasons)
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
        digest = short_digest(order.body)
        now, write = self._clock.now_us, self._write
        cents, currency, buyer, items, *_ = asked_by(order.body)
        asked = (cents, currency, buyer, items, customer_of(order.body))
        write(("http.begin", now(), "client", subject, "create", key, digest, send, *asked))
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
        told = _told(answer)
        # Hardly any is refused, and hardly any accepted one is in doubt: they are not read again.
        is_unfair = answer is not None and told[0] >= 400 and _is_unfair(answer, order.body)
        if 0 < told[0] < 300 and (order.line or send in _ALSO or not currency):
            is_unfair = is_unsound(order.body)
        sent = ("create", key, digest, send)
        write(("http.end", now(), "client", subject, *sent, *told, is_unfair))
        return answer

    async def _cancel(
        self,
        order: PlannedOrder,
        order_id: str,
        times: int,
        pause_us: int,
        key: str,
        *,
        first_send: int = 1,
    ) -> None:
        """Ask for the cancellation until there are so many answers to it, so far apart."""
        now, write = self._clock.now_us, self._write
        subject = f"{order.ordinal}.{first_send}"
        send = first_send - 1
        while not self._give_up:
            send += 1
            asked = ("cancel", key, "", send)
            headers: tuple[tuple[str, str], ...] = (_JSON, ("lab-subject", subject))
            if key:
                headers = (*headers, ("idempotency-key", key))
            write(("http.begin", now(), "client", subject, *asked, 0, "", "", "", ""))
            answer = await self._http.request(
                "POST",
                f"/orders/{order_id}/cancel",
                headers=headers,
                body=b"",
                timeout_us=self._timeout_us,
            )
            told = _told(answer)
            # The client knows whether there is such an order.
            is_unfair = 0 < told[0] < 500 and (told[0] == 404) != (first_send == SLIP_SEND)
            write(("http.end", now(), "client", subject, *asked, *told, is_unfair))
            if answer is not None and answer.status < 500 and not _is_running(answer):
                times -= 1
                if times < 1:
                    return
                if pause_us:
                    await self._clock.sleep_us(pause_us)
                continue
            await self._clock.sleep_us(self._retry_us)


def _key_of_cancel(order: PlannedOrder, word: str) -> str:
    """The Idempotency-Key of a cancel, by the word of its fault."""
    match word:
        case "own":
            return f"{order.key}-cancel"
        case "order":
            return order.key
        case "shared":
            return "cancel"
        case _:
            return ""


def _is_running(answer: HttpAnswer) -> bool:
    """Whether the API said that another request under the key is under way."""
    return answer.status == 409 and _problem_type(answer) == RUNNING


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


def _order_id(answer: HttpAnswer) -> str:
    """The order that an answer names, "" if it names none."""
    try:
        return _accepted(answer.body).order_id
    except msgspec.DecodeError:
        return ""


def _reasons(answer: HttpAnswer) -> list[tuple[str, str]]:
    """The reasons of a refusal with the field of each, or its status if it names none."""
    try:
        errors = _problem(answer.body).errors
    except msgspec.DecodeError:
        errors = ()
    found = [(each.reason, each.field) for each in errors if each.reason]
    return found or [(f"status_{answer.status}", "")]


def _is_unfair(answer: HttpAnswer, body: bytes) -> bool:
    """Whether the client finds fault with an answer other than success; see `HttpEndEntry`."""
    problem = _problem_type(answer)
    if answer.status >= 500:
        hint = header(answer, "retry-after")
        return problem in _AGAIN and not (hint.isdecimal() and 0 < int(hint) <= _AGAIN_S_MAX)
    if problem != REFUSED:
        return is_sound(body)
    reasons = _reasons(answer)
    named = {field for _, field in reasons}
    return (
        is_sound(body)
        or not named.issuperset(broken_fields(body))
        or not all(may_be_why(reason, field) for reason, field in reasons)
    )


def _told(answer: HttpAnswer | None) -> tuple[int, str, str, str]:
    """Status, problem type, order id and digest of an answer, as the history keeps them."""
    if answer is None:
        return 0, "", "", ""
    digest = short_digest(answer.body)
    if answer.status < 300:
        return answer.status, "", _order_id(answer), digest
    return answer.status, _problem_type(answer), "", digest
