"""The health of a dependency, as one process life knows it from its own calls and its breaker.

Not here: the entries that it is known from (`call_folds`), and the promise (`promises/retries`).
"""

from collections import deque
from typing import Final

from lab.checks.contract import Contract

_COUNTED: Final = 1_024
"""More failures than these of one dependency are not looked at when its breaker opens."""


class Health:
    """One dependency in the eyes of one process life.

    A dependency is known to be down while its breaker is open, or when all calls of a window have
    failed and there were enough of them.
    """

    __slots__ = (
        "_contract",
        "_counted",
        "_failed_us",
        "_fine",
        "_fine_us",
        "_half_us",
        "_open_us",
        "_probes",
        "_state",
    )

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._fine_us: int | None = None
        # Its latest failures, oldest first. Others may have failed while a call was under way: as
        # many as there are workers.
        self._failed_us: deque[int] = deque(maxlen=contract.breaker_calls_min + contract.workers)
        # Since when its breaker is open; when it was last half open, from and (None: it still is)
        # until; calls that began then.
        self._open_us: int | None = None
        self._half_us: tuple[int, int | None] | None = None
        self._probes = 0
        # Since its breaker was closed last: when calls have failed, each with the number of those
        # that were fine before it and after the failure before; and the fine ones since the last.
        self._counted: deque[tuple[int, int]] = deque(maxlen=_COUNTED)
        self._fine = 0
        self._state = "closed"

    def forbade(self, began_us: int) -> bool:
        """Whether a call that has ended now, and began then, was made in spite of this knowledge.

        Ask once a call, and before the call itself counts as a failure or a success.
        """
        if not self._failed_us and self._open_us is None and self._half_us is None:
            return False
        return self._is_second_probe(began_us) or self._was_down(began_us)

    def succeeded(self, t_us: int) -> None:
        """A call has got an answer."""
        self._fine_us = t_us
        self._fine += 1

    def failed(self, t_us: int) -> bool:
        """A call has failed; whether the dependency is known to be down now."""
        self._failed_us.append(t_us)
        self._counted.append((t_us, self._fine))
        self._fine = 0
        return self._was_down(t_us)

    def turned(self, state: str, t_us: int) -> str:
        """The breaker is `open`, `half_open` or `closed` from now on; what is wrong with that."""
        wrong = self._wrong_turn(state, t_us)
        self._state = state
        # A probe has only itself to answer for, and a breaker that was closed begins anew.
        self._counted.clear()
        self._fine = 0
        if state == "half_open":
            self._half_us, self._probes = (t_us, None), 0
            if self._open_us is not None:
                left_us = self._open_us + self._contract.breaker_open_us - t_us
                if left_us <= self._contract.slack_us:
                    self._open_us = None
        else:
            self._open_us = t_us if state == "open" else None
            if self._half_us is not None and self._half_us[1] is None:
                self._half_us = (self._half_us[0], t_us)
        # From here on the breaker decides, and lets its probes through.
        self._failed_us.clear()
        return wrong

    def _wrong_turn(self, state: str, t_us: int) -> str:
        before = self._state
        if state == "half_open":
            is_early = (
                before == "open"
                and self._open_us is not None
                and self._open_us + self._contract.breaker_open_us - t_us > self._contract.slack_us
            )
            if before == "closed" or is_early:
                return f"was probed while its breaker was {before}"
        elif before == "half_open":
            # Before its turn nothing but the probe was counted.
            if state == "open" and not self._counted:
                return "was found to be down by a probe that did not fail"
            if state == "closed" and not self._has_succeeded():
                return "was found to be up by a probe that failed"
        elif state == "open" and before == "closed" and not self._may_open(t_us):
            return "was cut off before enough of its calls had failed"
        elif before == "open":
            how = "let in again" if state == "closed" else "cut off again"
            return f"was {how} without a probe"
        return ""

    def _has_succeeded(self) -> bool:
        return self._fine > 0 or any(fine for _, fine in self._counted)

    def _may_open(self, now_us: int) -> bool:
        """Whether the latest calls, from some instant of the window on, were enough failures.

        Calls that had begun in another state of the breaker are not counted there, and here they
        are: a failure too many or a success too few opens nothing that was not nearly open.
        """
        counted, contract = self._counted, self._contract
        if len(counted) == _COUNTED:
            return True
        since_us = now_us - contract.breaker_window_us - contract.slack_us
        fine = 0
        for failed, (failed_us, before) in enumerate(reversed(counted), 1):
            if failed_us < since_us:
                break
            # So many of the fine ones before may lie in the window as the number needs.
            wanted = max(contract.breaker_calls_min - failed - fine, 0)
            calls = failed + fine + min(wanted, before)
            share = contract.breaker_failures_percent * calls
            if calls >= contract.breaker_calls_min and failed * 100 >= share:
                return True
            fine += before
        return False

    def _was_down(self, at_us: int) -> bool:
        """Known to be down at `at_us`: its breaker was open, or all calls of a window had failed.

        Enough of them, within four fifths of it: a breaker counts in coarse slices and may have
        dropped one. The window ends with the last failure, because a breaker looks then: an earlier
        success does not get worse by growing old.
        """
        if self._open_us is not None:
            return self._open_us < at_us
        window_us = self._contract.breaker_window_us
        latest_us = self._failed_us[-1] if self._failed_us else at_us
        if self._fine_us is not None and self._fine_us >= latest_us - window_us:
            # Nearly always: it was up in the window of the latest failure, so of any before it too.
            return False
        failed_us = [each for each in self._failed_us if each <= at_us]
        if not failed_us or failed_us[-1] < at_us - window_us:
            return False
        last_us = failed_us[-1]
        if self._fine_us is not None and self._fine_us >= last_us - window_us:
            return False
        start_us = last_us - window_us * 4 // 5
        return sum(each >= start_us for each in failed_us) >= self._contract.breaker_calls_min

    def _is_second_probe(self, at_us: int) -> bool:
        """Whether a call that began at `at_us` was one too many while the breaker was half open."""
        if self._half_us is None:
            return False
        from_us, until_us = self._half_us
        if at_us < from_us or (until_us is not None and at_us >= until_us):
            return False
        self._probes += 1
        return self._probes > 1
