"""Group commit: all questions that came while the last call ran go into the next one.

No timer: alone, a question is asked at once; under load, batches grow by themselves until the
server keeps up. Not here: the questions (`postgres/`, `redis/`).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from lab.domain.errors import Down, LabError

Q = TypeVar("Q")
A = TypeVar("A")

_Entry = tuple[Q, "asyncio.Future[A]"]

Ask = Callable[[Sequence[Q]], Awaitable[Sequence[A | LabError]]]
"""Answers many questions in one call: an answer, or an error, for each."""


def no_rivals(_question: object) -> tuple[Hashable, ...]:
    """Every question may stand beside every other."""
    return ()


class Batcher(Generic[Q, A]):
    """Collects questions of concurrent callers and asks them together.

    Bounded: a server that is down refuses all callers that wait at once, and a call that hangs ends
    at its own deadline.

    Args:
        ask: one call to the server. An error of it is everybody's answer.
        size: questions in one call at most.
        lanes: calls that run at the same time at most.
        rivals: the claims of a question; two with a claim in common never share a call.
    """

    def __init__(
        self,
        ask: Ask[Q, A],
        *,
        size: int,
        lanes: int = 1,
        rivals: Callable[[Q], Iterable[Hashable]] = no_rivals,
    ) -> None:
        self._ask = ask
        self._size = size
        self._lanes = lanes
        self._rivals = rivals
        self._waiting: deque[_Entry[Q, A]] = deque()
        self._running: list[asyncio.Task[None]] = []
        self._busy = 0
        self._closed: LabError | None = None

    def put(self, question: Q) -> "asyncio.Future[A]":
        """Ask. A caller that is cancelled in time withdraws; later, it only misses the answer."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[A] = loop.create_future()
        if self._closed is not None:
            answer.set_exception(_again(self._closed))
            return answer
        self._waiting.append((question, answer))
        if self._busy < self._lanes:
            self._busy += 1
            task = loop.create_task(self._run())
            self._running.append(task)
            task.add_done_callback(self._ended)
        return answer

    async def close(self, why: LabError) -> None:
        """Let the calls that run end, and refuse everybody else with `why`."""
        self._closed = why
        self._refuse(why)
        for task in tuple(self._running):
            await asyncio.gather(task, return_exceptions=True)

    def abort(self) -> None:
        """End at once, as a killed process does: nobody gets an answer."""
        self._closed = Down("killed", dependency="", after_us=0)
        for task in self._running:
            task.cancel()

    async def _run(self) -> None:
        try:
            while batch := self._next():
                await self._ask_all(batch)
        finally:
            # Here and not when the task is done: a caller in between would wait for ever.
            self._busy -= 1

    async def _ask_all(self, batch: "Sequence[_Entry[Q, A]]") -> None:
        try:
            answers = await self._ask([question for question, _ in batch])
        except asyncio.CancelledError:
            for _, answer in batch:
                answer.cancel()
            raise
        except BaseException as error:
            # Nobody may wait for ever, even if it is a mistake of ours.
            for _, answer in batch:
                _fail(answer, error)
            if not isinstance(error, LabError):
                raise
            if isinstance(error, Down):
                self._refuse(error)
        else:
            _give(batch, answers)

    def _next(self) -> "list[_Entry[Q, A]]":
        """The oldest questions that may stand beside each other; rivals wait for the next call."""
        waiting, rivals, size = self._waiting, self._rivals, self._size
        alive = [entry for entry in waiting if not entry[1].done()] if len(waiting) <= size else []
        claims = [claim for question, _ in alive for claim in rivals(question)]
        if alive and len(set(claims)) == len(claims):
            # Nearly always: they fit into one call, and none is another's rival.
            waiting.clear()
            return alive
        batch: list[_Entry[Q, A]] = []
        later: list[_Entry[Q, A]] = []
        claimed: set[Hashable] = set()
        while waiting and len(batch) < size and len(later) < size:
            entry = waiting.popleft()
            if entry[1].done():
                continue
            its_claims = tuple(rivals(entry[0]))
            if claimed.isdisjoint(its_claims):
                claimed.update(its_claims)
                batch.append(entry)
            else:
                later.append(entry)
        waiting.extendleft(reversed(later))
        return batch

    def _refuse(self, why: LabError) -> None:
        while self._waiting:
            _fail(self._waiting.popleft()[1], why)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.remove(task)
        if not task.cancelled():
            task.exception()  # its callers have it


def _give(batch: "Sequence[_Entry[Q, A]]", answers: "Sequence[A | LabError]") -> None:
    for (_, answer), said in zip(batch, answers, strict=True):
        if isinstance(said, LabError):
            _fail(answer, said)
        elif not answer.done():
            answer.set_result(said)


def _fail(answer: "asyncio.Future[A]", error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(_again(error))


def _again(error: BaseException) -> BaseException:
    """The same error for one more caller: each raises, and so extends, a trace of its own."""
    copy = type(error).__new__(type(error), *error.args)
    copy.args = error.args
    copy.__dict__.update(error.__dict__)
    copy.__cause__ = error.__cause__
    copy.__suppress_context__ = True
    return copy
