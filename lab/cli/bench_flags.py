"""What is asked of `lab bench`: which parts are measured, how often, how long, how much of them.

Not here: measuring (`lab.bench`), and what is printed (`bench_page`).
"""

import re
from typing import TYPE_CHECKING, Final

from lab.cli.flag_values import FlagValues, OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.bench.figures import Figure
    from lab.bench.real_rounds import RealSizes
    from lab.bench.rounds import Sizes

_ROUNDS_MAX: Final = 1_000
_DURATION_MS: Final = (1_000, 600_000)
_ORDERS: Final = (100, 1_000_000)
_LADDER_MAX: Final = 10


class BenchFlags:
    """The flags of one bench, read before anything is measured.

    Args:
        values: reads flags and their variables.
        real: of real servers.
        full: with the growth.
        only: as `--only` was given.

    Attributes:
        is_real: of real servers.
        parts: what is measured, by short names.
        rounds: how many; None: as many as are usual.
        duration_s: how long; None: it was not given.

    Raises:
        OptionError, OnlyError: a flag cannot be used.
    """

    def __init__(
        self, values: FlagValues, *, real: bool, full: bool, only: "Sequence[str] | None"
    ) -> None:
        from lab.bench.parts import REAL, SIMULATED, choose, usual

        if real and full:
            raise OptionError("--full is of the simulated figures: leave it out with --real")
        self._values = values
        # LAB_ONLY and LAB_ORDERS are about runs: their promises, and how many orders they have.
        self._own = FlagValues(has_variables=False)
        given = self._own.many("only", only, separator=",")
        if only and not given:
            raise OptionError("--only is empty: give it a name, or leave it out")
        ours, others = (REAL, SIMULATED) if real else (SIMULATED, REAL)
        given = given or usual(ours)
        self.is_real = real
        self.parts = choose((*given, "growth") if full else given, ours, others)
        self.rounds: int | None = None
        self.duration_s: float | None = None
        self._ladder: tuple[int, ...] = ()

    def read_amounts(self, rounds: str | None, duration: str | None, orders: str | None) -> None:
        """Read how often, how long and how much.

        Raises:
            OptionError: one of them cannot be used, or is of a part that is not measured.
        """
        times = self._values.whole("rounds", rounds)
        if times is not None and not 1 <= times <= _ROUNDS_MAX:
            raise OptionError(f"--rounds must be from 1 to {_ROUNDS_MAX:,}, not {times}")
        self.rounds = times
        length_ms = self._own.length_ms("duration", duration)
        if length_ms is not None:
            self.duration_s = self._duration_s(length_ms, duration, has_rounds=rounds is not None)
        if orders is not None:
            self._ladder = self._orders(orders)

    @property
    def sizes(self) -> "Sizes":
        """Of the simulated measurements."""
        import msgspec

        from lab.bench.rounds import DEFAULT

        return msgspec.structs.replace(DEFAULT, ladder=self._ladder or DEFAULT.ladder)

    @property
    def real_sizes(self) -> "RealSizes":
        """Of the measurements on real servers."""
        import msgspec

        from lab.bench.real_rounds import REAL

        return msgspec.structs.replace(REAL, load_s=self.duration_s or 0.0)

    @property
    def latency_part(self) -> str:
        """The part that has the latency, if it is left out; else ""."""
        part = "run" if self.is_real else "latency"
        return "" if part in self.parts else part

    def figures(self) -> "Sequence[Figure]":
        """The figures that will be measured, without numbers."""
        return self._figures(self.parts)

    def others(self) -> "Sequence[Figure]":
        """The figures of this bench that will not be measured."""
        from lab.bench.parts import REAL, SIMULATED

        every = REAL if self.is_real else SIMULATED
        return self._figures([part.name for part in every if part.name not in self.parts])

    def _figures(self, parts: "Sequence[str]") -> "Sequence[Figure]":
        if self.is_real:
            from lab.bench import real_figures

            return real_figures.prototypes(self.real_sizes, parts)
        from lab.bench import simulated_figures

        return simulated_figures.prototypes(self.sizes, parts)

    def _duration_s(self, length_ms: int, text: str | None, *, has_rounds: bool) -> float:
        from lab.bench.rounds import FIELDS

        least, most = _DURATION_MS
        if not least <= length_ms <= most:
            raise OptionError(
                f"--duration must be from {least // 1_000}s to {most // 60_000}m, not {text}"
            )
        if self.is_real and "run" not in self.parts:
            raise OptionError("--duration is the load of the whole run: add --only run")
        if not self.is_real and has_rounds:
            raise OptionError("--duration and --rounds contradict each other: leave one out")
        if not self.is_real and FIELDS.keys().isdisjoint(self.parts):
            raise OptionError(f"--duration is of rounds, and {', '.join(self.parts)} has none")
        return length_ms / 1_000

    def _orders(self, text: str) -> tuple[int, ...]:
        if "sizes" not in self.parts:
            raise OptionError("--orders is of --only sizes: add that, or leave it out")
        least, most = _ORDERS
        parts = [part.strip() for part in text.split(",")]
        counts = [int(part) for part in parts if re.fullmatch("[0-9]{1,9}", part)]
        if (
            len(counts) != len(parts)
            or not 2 <= len(counts) <= _LADDER_MAX
            or not least <= min(counts) <= max(counts) <= most
            or sorted(set(counts)) != counts
        ):
            raise OptionError(
                f"--orders must be 2 to {_LADDER_MAX} growing numbers from {least} to {most:,}, "
                f"such as 1000,10000,100000, not {text!r}"
            )
        return tuple(counts)
