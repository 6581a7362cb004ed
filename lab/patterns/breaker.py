"""Breaker: a dependency that is down is left alone, and no attempt is burned on it.

A third party is down for five minutes. Every order tries it six times, adds its share of load to a
system that is trying to get up, and ends as a dead letter that somebody must redrive by hand.

The rule: when enough calls of the last seconds failed, the breaker opens and says `Down` at once;
the consumer gives the delivery back and pauses, which counts no attempt. After a while one call is
let through as a probe. If it succeeds the breaker closes; a failed probe is `Down` again.

The weak part is always closed.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, ParamSpec, TypeVar

from lab.domain.errors import Down, Indeterminate, LabError, Replayed, Transient
from lab.history.pen import Pen
from lab.history.recorder import Now

P = ParamSpec("P")
T = TypeVar("T")

_SLICES: Final = 10
_CLOSED: Final = "closed"
_OPEN: Final = "open"
_HALF_OPEN: Final = "half_open"


class Breaker:
    """The breaker of one process for one dependency.

    Args:
        dependency: its name.
        window_us: failures are counted over this time, in tenths.
        calls_min: fewer calls in the window never open it.
        failures_percent: share of failures that opens it.
        open_us: time until a probe is let through.
        clock: monotonic microseconds.
        pen: for the history.
    """

    def __init__(
        self,
        dependency: str,
        *,
        window_us: int,
        calls_min: int,
        failures_percent: int,
        open_us: int,
        clock: Now,
        pen: Pen,
    ) -> None:
        self._dependency = dependency
        self._slice_us = max(window_us // _SLICES, 1)
        self._calls_min = calls_min
        self._failures_percent = failures_percent
        self._open_us = open_us
        self._clock = clock
        self._process, self._now, self._write = pen.process, pen.now, pen.write
        # [slice, calls, failures], oldest first.
        self._slices: deque[list[int]] = deque()
        self._state = _CLOSED
        self._open_until_us = 0
        self._is_probing = False
        # Answers to calls that began in another state say nothing about this one.
        self._changes = 0

    def guard(self, call: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        """`call` behind this breaker; its errors carry the dependency's name.

        The guarded call raises Down while the breaker is open, or when it was a probe that failed.
        """

        async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            if self._state is not _CLOSED:
                return await self._probe(call, *args, **kwargs)
            changes = self._changes
            try:
                answer = await call(*args, **kwargs)
            except LabError as error:
                self._name(error)
                if changes == self._changes:
                    self._count(failures=int(_is_failure(error)))
                raise
            if changes == self._changes:
                self._count(failures=0)
            return answer

        return guarded

    async def _probe(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        left_us = self._open_until_us - self._clock()
        if left_us > 0 or self._is_probing:
            raise self._down(max(left_us, self._open_us // _SLICES, 1))
        self._change(_HALF_OPEN)
        self._is_probing = True
        try:
            answer = await call(*args, **kwargs)
        except LabError as error:
            if _is_failure(error):
                self._open()
                raise self._down(self._open_us) from error
            self._name(error)
            self._close()
            raise
        finally:
            # A cancelled probe has shown nothing: the next call is one.
            self._is_probing = False
        self._close()
        return answer

    def _count(self, *, failures: int) -> None:
        slices, present = self._slices, self._clock() // self._slice_us
        if slices and slices[-1][0] == present:
            slices[-1][1] += 1
            slices[-1][2] += failures
        else:
            while slices and slices[0][0] <= present - _SLICES:
                slices.popleft()
            slices.append([present, 1, failures])
        if failures:
            calls = sum(each[1] for each in slices)
            failed = sum(each[2] for each in slices)
            if calls >= self._calls_min and failed * 100 >= self._failures_percent * calls:
                self._open()

    def _open(self) -> None:
        self._open_until_us = self._clock() + self._open_us
        self._change(_OPEN)

    def _close(self) -> None:
        self._slices.clear()
        self._change(_CLOSED)

    def _change(self, state: str) -> None:
        self._state = state
        self._changes += 1
        if self._write is not None:
            self._write(("breaker", self._now(), self._process, "", self._dependency, state))

    def _down(self, after_us: int) -> Down:
        return Down(f"{self._dependency} is down", dependency=self._dependency, after_us=after_us)

    def _name(self, error: LabError) -> None:
        error.dependency = error.dependency or self._dependency


def _is_failure(error: LabError) -> bool:
    """Whether a call shows that the dependency is in trouble; every other answer: it is up.

    A stored failure would keep the breaker open for good if its request were the only one left.
    """
    return isinstance(error, Transient | Indeterminate | Down) and not isinstance(error, Replayed)


class NoBreaker:
    """The weak part: every call goes through.

    Args:
        dependency: its name, for the retry budget.
    """

    def __init__(self, dependency: str, **_: object) -> None:
        self._dependency = dependency

    def guard(self, call: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        """`call`; its errors carry the dependency's name."""

        async def unguarded(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return await call(*args, **kwargs)
            except LabError as error:
                error.dependency = error.dependency or self._dependency
                raise

        return unguarded
