"""Whether a process is to be given work, and if not, why: the answer to `/ready`.

Live is another question: a process whose loop turns is alive, whatever it waits for. Ready is one
that has begun and is not draining, is a member of its group, and reaches the servers without which
it can do nothing. Being busy is not unready: a load balancer would take out whoever has most to do.
Not here: HTTP (`lab.api`, `lab.wiring.worlds.health`), and what each part looks at.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial

from lab.observe.sampled import Sampled
from lab.ports.usable import Usable

Question = Callable[[], Awaitable[object]]


class Readiness:
    """The parts that one process needs. Used from one event loop."""

    def __init__(self) -> None:
        self._on_change: Callable[[Sequence[str]], object] = lambda _: None
        self._parts: list[Usable] = []
        self._servers: list[tuple[str, Sampled[bool]]] = []
        self._told: Sequence[str] = []

    def tell(self, on_change: Callable[[Sequence[str]], object]) -> None:
        """Call `on_change` with the reasons whenever a probe finds others than the last one did."""
        self._on_change = on_change

    def needs(self, part: Usable) -> None:
        """It is of no use without this part."""
        self._parts.append(part)

    def needs_servers(self, questions: Mapping[str, Question], stack: AsyncExitStack) -> None:
        """It is of no use without servers that answer.

        Args:
            questions: one to each server, by its name. It ends within some bound; a LabError says
                that it got no answer. It is asked one at a time, and not more often than once a
                second while the server answers.
            stack: ends the questions.
        """
        for name, question in questions.items():
            asked = Sampled(partial(_answers, question))
            stack.push_async_callback(asked.close)
            self._servers.append((name, asked))

    async def reasons(self) -> Sequence[str]:
        """Why it is to be given no work now; empty if it is. A second for each server at most."""
        reasons = [reason for part in self._parts if (reason := part.why_not())]
        if not reasons:
            for name, asked in self._servers:
                await asked.refresh()
                if asked.value is None:
                    reasons.append(f"{name} does not answer")
        if reasons != self._told:
            self._told = reasons
            self._on_change(reasons)
        return reasons


async def _answers(question: Question) -> bool:
    await question()
    return True
