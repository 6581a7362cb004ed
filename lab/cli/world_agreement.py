"""Whether the simulator and the real servers of this machine come to the same result.

The same small load runs under the same faults in both worlds. Verdict, states of the orders and
kept promises are compared; times are not, because a simulated run says nothing about them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lab.cli.stopping import ended_as_by_ctrl_c

if TYPE_CHECKING:
    from lab.report.result import Result

SCENARIO: Final = "duplicates"
ORDERS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldComparison:
    """The results of both worlds.

    Attributes:
        simulated, real: the verdict and the orders by state, in words.
        differs: names of promises that were broken in one world only.
    """

    simulated: str
    real: str
    differs: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether they agree."""
        return self.simulated == self.real and not self.differs


def compare_worlds() -> WorldComparison:
    """Run both; takes about ten seconds.

    Raises:
        EnvironmentNotReady: a real server is not there.
    """
    from lab.wiring.run import run

    simulated = run(SCENARIO, orders=ORDERS)
    with ended_as_by_ctrl_c():
        real = run(SCENARIO, orders=ORDERS, real=True)
    return WorldComparison(
        simulated=_in_words(simulated),
        real=_in_words(real),
        differs=tuple(sorted(_broken(simulated) ^ _broken(real))),
    )


def _in_words(result: "Result") -> str:
    states = ", ".join(f"{count} {state}" for state, count in result.orders.by_state.items())
    return f"{result.verdict}, {states}"


def _broken(result: "Result") -> set[str]:
    return {check.name for check in result.checks if check.verdict == "FAIL"}
