"""The casebook: every order's case from its first entry until it is forgotten.

An order that has come to its end is judged some time later, shrinks if it was found clean, and is
forgotten when nothing of it can be delivered again. So state is bounded by the orders of a dedupe
window, most of them small. Not here: the case itself (`order_case`).
"""

from collections import deque
from collections.abc import Callable

from lab.checks.order_case import Case, Packed

Close = Callable[[Case], None]
"""Judges a case; sets `Case.is_broken`."""


class Casebook:
    """Cases of one run.

    Args:
        close: see `Close`.
        linger_us: from the end of an order until it is judged.
        window_us: from then on until it is forgotten.

    Attributes:
        open: cases that are not packed, by order. Read it on hot paths, write it never.
        packed: orders that were judged clean.
        has_ended: phase `end` was reached: a missing entry is really missing now.
        has_lookers: a client has looked at its order: others may look at theirs later.
    """

    def __init__(self, close: Close, *, linger_us: int, window_us: int) -> None:
        self.open: dict[str, Case] = {}
        self.packed: dict[str, Packed] = {}
        self.has_ended = False
        self.has_lookers = False
        self._close = close
        self._linger_us = linger_us
        self._window_us = window_us
        self._now_us = 0
        self._due: deque[tuple[int, str, int]] = deque()
        self._forget: deque[tuple[int, list[str]]] = deque()

    def case(self, subject: str) -> Case:
        """The open case of an order, opened now if need be."""
        case = self.open.get(subject)
        if case is None:
            packed = self.packed.pop(subject, None)
            case = Case(subject) if packed is None else Case.unpacked(subject, packed)
            self.open[subject] = case
            self._due.append((self._now_us + self._linger_us, subject, -1))
        return case

    def sweep(self, now_us: int) -> list[Packed]:
        """Time has come to `now_us`: judge the orders at their end; returns the forgotten ones."""
        self._now_us = now_us
        due = self._due
        finished: list[str] = []
        while due and due[0][0] <= now_us:
            _, subject, growth = due.popleft()
            case = self.open[subject]
            if case.is_judged:
                continue
            size = case.growth()
            if size == growth and case.may_be_finished():
                case.weigh()
                if case.is_finished:
                    self._finish(case, finished)
                    continue
            due.append((now_us + self._linger_us, subject, size))
        if finished:
            self._forget.append((now_us + self._window_us, finished))
        forgotten = []
        while self._forget and self._forget[0][0] <= now_us:
            for subject in self._forget.popleft()[1]:
                packed = self.packed.pop(subject, None)
                if packed is not None:
                    forgotten.append(packed)
        return forgotten

    def close_all(self) -> None:
        """The history is complete: judge every case that was not judged yet."""
        for case in self.open.values():
            if not case.is_judged:
                case.has_ended = self.has_ended
                case.weigh()
                case.is_judged = True
                self._close(case)

    def clear(self) -> None:
        """Let go of every case: else they are gone through when garbage is looked for."""
        self.open.clear()
        self.packed.clear()
        self._due.clear()
        self._forget.clear()

    def _finish(self, case: Case, finished: list[str]) -> None:
        case.is_judged = True
        self._close(case)
        if not case.is_broken:
            # A broken one stays as it is: it is the witness, and will not be judged again.
            subject = case.subject
            del self.open[subject]
            self.packed[subject] = case.packed(is_looked_at=self.has_lookers)
            finished.append(subject)
