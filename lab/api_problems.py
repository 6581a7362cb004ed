"""The answers of the HTTP front that are not success: a problem each, with status and headers.

Not here: when one is given (`lab.api`), and the table of problems (`lab.domain.answers`).

Source: RFC 9457 (problem details).
"""

from typing import Final

import msgspec

from lab.domain.answers import PROBLEM, SHED, problem_of
from lab.domain.errors import Down, Transient
from lab.domain.request import BODY_BYTES_MAX, Refusal
from lab.ports.strategies import KeyRefusal

_SECOND_US: Final = 1_000_000

Headers = tuple[tuple[bytes, bytes], ...]
JSON: Final = (b"content-type", b"application/json")
PROBLEM_JSON: Final = (b"content-type", b"application/problem+json")
_encode: Final = msgspec.json.Encoder().encode


class HttpReply(msgspec.Struct, frozen=True, gc=False):
    """Any answer, as it is sent."""

    status: int
    body: bytes
    headers: Headers = (JSON,)


class HttpProblem(Exception):
    """An answer other than success."""

    def __init__(
        self,
        name: str,
        detail: str,
        *,
        refusals: list[Refusal] | None = None,
        headers: Headers = (),
    ) -> None:
        super().__init__(detail)
        problem = problem_of(name.removeprefix(PROBLEM), detail, refusals)
        self.reply = HttpReply(problem.status, _encode(problem), (PROBLEM_JSON, *headers))


def too_large() -> HttpProblem:
    """413, whatever length the client named."""
    return HttpProblem("body-too-large", f"at most {BODY_BYTES_MAX} bytes are taken")


def unknown(order_id: str) -> HttpProblem:
    """404."""
    return HttpProblem("not-found", f"there is no order {ascii(order_id)[:80]}")


def not_made(why: KeyRefusal) -> HttpProblem:
    """409 or 422: the order was not made, by its key or its id."""
    if why is KeyRefusal.OTHER_BODY:
        detail = "this Idempotency-Key was used for another wish: take a new one"
        return HttpProblem("idempotency-key-reused", detail)
    if why is KeyRefusal.RUNNING:
        detail = "a request with this Idempotency-Key is running: send it again later"
        return HttpProblem("idempotency-key-running", detail, headers=retry_after(0))
    return HttpProblem("order-exists", "an order of this id exists already")


def unready() -> HttpProblem:
    """503: shed, or a probe that is told to send no more."""
    return HttpProblem(SHED, "not ready: nothing was stored", headers=retry_after(0))


def shed(passing: Transient | Down) -> HttpProblem:
    """503: our servers are away."""
    after_us = passing.after_us if isinstance(passing, Down) else 0
    # Where our servers are, and what they said, is no client's business.
    detail = "nothing was stored: we cannot store anything now"
    return HttpProblem(SHED, detail, headers=retry_after(after_us))


def retry_after(after_us: int) -> Headers:
    """Whole seconds, never too early."""
    seconds = max(1, -(-after_us // _SECOND_US))
    return ((b"retry-after", b"%d" % seconds),)
