"""Steps coroutines by hand, so that a test decides who acts between any two port calls.

Only for code whose every suspension is a bare one, as in the memory adapters; no loop runs.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

Job = Coroutine[Any, Any, Any]


def run(job: Job) -> Any:
    """Run a coroutine whose every suspension is a bare one."""
    while True:
        try:
            job.send(None)
        except StopIteration as end:
            return end.value


def step(job: Job) -> bool:
    """One step of it; False if it has ended. What it raises ends it."""
    try:
        job.send(None)
    except StopIteration:
        return False
    return True


def interleaved(jobs: Sequence[Job], choices: Sequence[int]) -> list[int]:
    """Step the jobs to their ends.

    A choice of 0 goes on with the job that ran last, if it is left, another one turns to one of the
    others; after the last choice all are 0. Returns how many jobs were left at each step.
    """
    left = list(jobs)
    options: list[int] = []
    while left:
        place = choices[len(options)] if len(options) < len(choices) else 0
        options.append(len(left))
        job = left.pop(place)
        if step(job):
            left.insert(0, job)
    return options


def every_schedule(trial: Callable[[Sequence[int]], list[int]], *, turns: int = 3) -> int:
    """Call `trial` with every schedule of up to so many turns; returns how many there were.

    `trial` runs its jobs afresh by `interleaved` and returns what that returned. A turn is a choice
    other than going on: nearly all races need one or two.
    """
    count = 0
    waiting: list[list[int]] = [[]]
    while waiting:
        prefix = waiting.pop()
        options = trial(prefix)
        count += 1
        if sum(choice > 0 for choice in prefix) == turns:
            continue
        for place in range(len(prefix), len(options)):
            ahead = [0] * (place - len(prefix))
            waiting += [[*prefix, *ahead, other] for other in range(1, options[place])]
    return count
