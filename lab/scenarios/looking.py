"""A client who looks at its order: where its answer says that it stands, and in a list.

It keeps what it was shown under its tag, and turns the pages of the list by their links, as any
program would. Not here: when a client looks (`client`), and whether it was shown the truth
(`lab.checks.shown_orders`).
"""

import re
from typing import Final
from urllib.parse import quote

import msgspec

from lab.history.recorder import Write
from lab.ports.clock import Clock
from lab.ports.http import HttpAnswer, HttpCaller

_PER_PAGE: Final = 1
_PAGES_MAX: Final = 20
"""Who has more orders than that is not looked through: a run may have many of one customer."""

_next_of: Final = re.compile(r'<([^<>]*)>; *rel="next"').fullmatch


class _View(msgspec.Struct, frozen=True, gc=False):
    order_id: str = ""
    state: str = ""
    version: int = 0
    currency: str = ""
    amount_cents: int = 0


class _Page(msgspec.Struct, frozen=True, gc=False):
    orders: tuple[_View, ...] = ()


_NO_VIEW: Final = _View()
_view: Final = msgspec.json.Decoder(_View).decode
_page: Final = msgspec.json.Decoder(_Page).decode


class Looker:
    """Looks at orders for all clients of a run, and knows whose they are.

    Args:
        write: takes an entry for each look.
        timeout_us: of one request.
    """

    def __init__(self, *, http: HttpCaller, clock: Clock, write: Write, timeout_us: int) -> None:
        self._http = http
        self._clock = clock
        self._write = write
        self._timeout_us = timeout_us
        self._buyers: dict[str, str] = {}

    def accepted(self, order_id: str, customer: str) -> None:
        """The shop has taken an order of this customer."""
        self._buyers[order_id] = customer

    def at(self, subject: str, order_id: str, answer: HttpAnswer, customer: str) -> "Look":
        """The look at one order, as its client was answered when it was accepted."""
        return Look(self, subject, order_id, header(answer, "location"), customer)

    async def get(self, path: str, subject: str, tag: str = "") -> HttpAnswer | None:
        """What stands at a path; None without an answer."""
        headers: tuple[tuple[str, str], ...] = (("lab-subject", subject),)
        if tag:
            headers = (*headers, ("if-none-match", tag))
        return await self._http.request(
            "GET", path, headers=headers, body=b"", timeout_us=self._timeout_us
        )

    def now_us(self) -> int:
        """The clock of the entries."""
        return self._clock.now_us()

    def is_of_other(self, view: _View, customer: str) -> bool:
        """Whether an order is known to be another customer's."""
        return self._buyers.get(view.order_id, customer) != customer

    def tell(self, look: "Look", begun_us: int, how: str, status: int, view: _View) -> None:
        """Write what was shown."""
        now_us = self._clock.now_us()
        shown = (view.version, view.state, view.amount_cents, view.currency)
        self._write(
            (
                "shown",
                now_us,
                "client",
                look.subject,
                look.order_id,
                how,
                status,
                *shown,
                now_us - begun_us,
            )
        )


class Look:
    """One client's look at one order, which it may take again and again."""

    def __init__(self, eye: Looker, subject: str, order_id: str, place: str, customer: str) -> None:
        self.subject = subject
        self.order_id = order_id
        self._eye = eye
        self._place = place
        self._customer = customer
        self._tag = ""
        self._view = _NO_VIEW

    async def again(self) -> None:
        """Look at the order alone, then for it in the list of its customer's."""
        await self._at_its_place()
        await self._in_its_list()

    async def _at_its_place(self) -> None:
        begun_us = self._eye.now_us()
        answer = await self._eye.get(self._place or "/", self.subject, self._tag)
        if answer is None or answer.status >= 500:
            return
        if answer.status == 304:
            self._eye.tell(self, begun_us, "unchanged", 304, self._view)
            return
        self._tag = header(answer, "etag")
        self._view = _read(answer)
        self._eye.tell(self, begun_us, "alone", answer.status, self._view)

    async def _in_its_list(self) -> None:
        """Turn pages until it is found; a list that shows what it should not ends there."""
        begun_us = self._eye.now_us()
        path = f"/orders?customer_id={quote(self._customer, safe='')}&limit={_PER_PAGE}"
        seen: dict[str, None] = {}
        for _ in range(_PAGES_MAX):
            answer = await self._eye.get(path, self.subject)
            if answer is None or answer.status >= 500:
                return
            views = _read_page(answer)
            for view in views:
                how = "listed"
                if len(views) > _PER_PAGE:
                    how = "too_many"
                elif self._eye.is_of_other(view, self._customer):
                    how = "of_other"
                elif view.order_id in seen:
                    how = "twice"
                elif view.order_id != self.order_id:
                    seen[view.order_id] = None
                    continue
                self._eye.tell(self, begun_us, how, answer.status, view)
                return
            following = _next_of(header(answer, "link"))
            if following is None:
                self._eye.tell(self, begun_us, "missing", answer.status, _NO_VIEW)
                return
            path = following[1]


def header(answer: HttpAnswer, wanted: str) -> str:
    """A header of an answer, "" if it has none."""
    return next((value for name, value in answer.headers if name == wanted), "")


def _read(answer: HttpAnswer) -> _View:
    try:
        return _view(answer.body)
    except msgspec.DecodeError:
        return _NO_VIEW


def _read_page(answer: HttpAnswer) -> tuple[_View, ...]:
    try:
        return _page(answer.body).orders
    except msgspec.DecodeError:
        return ()
