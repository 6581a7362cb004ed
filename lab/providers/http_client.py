"""The real world's way to the third parties: the ports of `lab.ports.providers` over HTTP.

Every request is sent once. Its fate without an answer depends on how far it got: not connected is
transient, handed over is indeterminate. An answer that makes no sense proves nothing
either: to a move it is indeterminate, to a question transient.

Not here: sockets and pools (`lab.ports.http`), retries (`lab.patterns`).
"""

from collections.abc import Callable
from typing import Final

from lab.domain.errors import Down, Indeterminate, LabError, Transient
from lab.ports.clock import Clock
from lab.ports.http import HttpAnswer, HttpSender, NoAnswer, NotSent, PoolExhausted
from lab.providers import wire
from lab.providers.clients import ProviderClients
from lab.providers.core import CONFLICT_AFTER_US, Answer, Refused, Request, error_of
from lab.providers.simulated_wire import NO_DEADLINE_US

POOL_AFTER_US: Final = 100_000
"""A pool without a free connection is left alone for so long."""

_MS: Final = 1_000
_SECOND_US: Final = 1_000_000
_JSON: Final = ("content-type", "application/json")
_DIGITS_MAX: Final = 12


class HttpLine:
    """One process's line to one provider.

    Args:
        provider: its name.
        http: sends to where the provider is.
        clock: deadlines are instants on its monotonic time.
        wall_us: the machine's wall clock, without the skew that a process may be given.
        subject_of: the order as `ordinal.send`, of its id.
    """

    __slots__ = ("_http", "_now_us", "_provider", "_wall_us", "subject_of")

    def __init__(
        self,
        provider: str,
        *,
        http: HttpSender,
        clock: Clock,
        wall_us: Callable[[], int],
        subject_of: Callable[[str], str],
    ) -> None:
        self._provider = provider
        self._http = http
        self._now_us = clock.now_us
        self._wall_us = wall_us
        self.subject_of = subject_of

    async def send(self, request: Request, deadline_us: int) -> Answer:
        """See `ProviderLine.send`."""
        provider = self._provider
        left_us = deadline_us - self._now_us()
        if left_us <= 0:
            raise Transient(f"{provider} was not called: the deadline had passed")
        try:
            answer = await self._http.send(
                "POST",
                wire.path_of(provider, request.action),
                headers=self._headers(request, left_us),
                body=wire.body_of_request(request),
                timeout_us=left_us,
            )
        except PoolExhausted as busy:
            raise Down(f"{provider}: {busy}", dependency=provider, after_us=POOL_AFTER_US) from busy
        except NotSent as unreached:
            raise Transient(f"{provider} was not reached: {unreached}") from unreached
        except NoAnswer as lost:
            raise Indeterminate(f"{provider} did not answer: {lost}") from lost
        if answer.status >= 400:
            is_replayed = (wire.REPLAYED, "true") in answer.headers
            return Refused(answer.status, _after_us(answer), is_replayed=is_replayed)
        return self._read(request, answer)

    def error(self, refused: Refused) -> LabError:
        """See `ProviderLine.error`."""
        return error_of(self._provider, refused)

    def _headers(self, request: Request, left_us: int) -> tuple[tuple[str, str], ...]:
        headers = [_JSON, (wire.SUBJECT, request.subject)]
        if request.key:
            headers.append((wire.KEY, request.key))
        if left_us < NO_DEADLINE_US:
            until_us = self._wall_us() + left_us
            headers.append((wire.TIMEOUT_MS, str(left_us // _MS)))
            headers.append((wire.DEADLINE_MS, str(until_us // _MS)))
        return tuple(headers)

    def _read(self, request: Request, answer: HttpAnswer) -> Answer:
        what = f"status {answer.status}"
        if answer.status == 200:
            try:
                return wire.read_answer(request.action, answer.body)
            except wire.MalformedExchange as malformed:
                what = str(malformed)
        message = f"{self._provider} gave an answer that cannot be read: {what}"
        raise Indeterminate(message) if request.action in wire.MOVES else Transient(message)


def _after_us(answer: HttpAnswer) -> int:
    """How long the provider asks to be left alone; for a conflict there is a default."""
    headers = dict(answer.headers)
    for name, unit_us in ((wire.RETRY_AFTER_MS, _MS), (wire.RETRY_AFTER, _SECOND_US)):
        hint = headers.get(name, "")
        if hint.isascii() and hint.isdigit() and len(hint) <= _DIGITS_MAX:
            return int(hint) * unit_us
    return CONFLICT_AFTER_US if answer.status in (409, 429) else 0


class HttpProviders(ProviderClients):
    """The four third parties of one process, each over a line of its own.

    Args: as of `HttpLine`; `http` may be shared, all four answer at one address.
    """

    def __init__(
        self,
        *,
        http: HttpSender,
        clock: Clock,
        wall_us: Callable[[], int],
        subject_of: Callable[[str], str],
    ) -> None:
        def line(provider: str) -> HttpLine:
            return HttpLine(
                provider, http=http, clock=clock, wall_us=wall_us, subject_of=subject_of
            )

        super().__init__(
            warehouse=line("warehouse"),
            antifraud=line("antifraud"),
            gateway=line("payment_gateway"),
            mailer=line("mailer"),
        )
