"""`lab chaos`: the default workload under a mixture of faults, and the costs of that.

Its own flags are short for `--fault`; everything else is as of `lab run`. Not here: the faults
(`lab.faults`), and running and showing (`run`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer

from lab.cli.flag_values import FlagValues, OptionError
from lab.cli.options import RunFlags, read_display, read_options
from lab.cli.run import run_and_show

if TYPE_CHECKING:
    from lab.scenarios.run_options import RunOptions
    from lab.scenarios.scenario import Scenario

DEFAULT_ORDERS: Final = 500
DEFAULT_RATE: Final = 50.0
OUTAGE_FROM: Final = 0.3
"""Outages begin when this share of the load was posted."""
_SECONDS_MAX: Final = 86_400.0
_DELAY_MS_MAX: Final = 600_000.0
_NEXT: Final = 2


def _share(visits: str) -> Any:
    return typer.Option(metavar="0..1", help=f"Share of {visits}.")


def _outage(server: str) -> Any:
    text = f"{server} is down for so long, from {OUTAGE_FROM:.0%} of the load on."
    return typer.Option(metavar="SECONDS", help=text)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FaultFlags:
    """The flags of `lab chaos` alone, as the shell gave them; see `FAULT_FLAGS`."""

    duplicate_rate: Annotated[str | None, _share("deliveries that come twice")] = None
    drop_ack_rate: Annotated[str | None, _share("deliveries whose ack is lost")] = None
    reorder_rate: Annotated[
        str | None, _share("deliveries that those of other orders overtake")
    ] = None
    delay_ms: Annotated[
        str | None, typer.Option(metavar="MS", help="Every delivery comes so much later.")
    ] = None
    poison_rate: Annotated[str | None, _share("records that nobody can read")] = None
    error_rate: Annotated[str | None, _share("calls to third parties answered with 503")] = None
    timeout_rate: Annotated[
        str | None, _share("calls to third parties that do nothing and give no answer")
    ] = None
    hang_rate: Annotated[
        str | None, _share("charges, refunds and mails that are done and not answered")
    ] = None
    crash_rate: Annotated[str | None, _share("port calls at which their process is killed")] = None
    redis_down: Annotated[str | None, _outage("Redis")] = None
    postgres_down: Annotated[str | None, _outage("PostgreSQL")] = None
    broker_down: Annotated[str | None, _outage("The broker")] = None
    for_: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="SECONDS",
            help="How long orders come.  [as long as --orders takes]",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Chaos(RunFlags, FaultFlags):
    """Run the default workload, 500 orders, under a mixture of faults, and show the costs.

    The same load runs once more without faults. Every fault that is asked for has to happen, else
    the run proves nothing. More kinds: --fault, see `lab list --faults`.

    Exit code: as of `lab run`.
    """

    def execute(self) -> int:
        options, display = read_options("chaos", self), read_display(self)
        scenario = make_scenario(options, self)
        return run_and_show(replace(options, scenario=scenario), self.seeds, display)


class FaultFlag(NamedTuple):
    """The fault that a flag is short for.

    Attributes:
        field: of `FaultFlags`.
        kind: of the fault.
        spec: of the fault; `{value}` is the flag's value, `{at_ms}` and `{ms}` begin and length of
            an outage.
        risks: promises that the fault puts at risk.
        then: flags to add next, to see it hurt.
        most: the largest value; the smallest is 0, which is no fault.
        unit: of the value, in messages.
    """

    field: str
    kind: str
    spec: str
    risks: tuple[str, ...]
    then: str
    most: float = 1.0
    unit: str = "a share"

    @property
    def name(self) -> str:
        """Of the flag, without `--`."""
        return self.field.replace("_", "-")

    @property
    def is_outage(self) -> bool:
        """It has a begin and an end."""
        return "{at_ms}" in self.spec

    def value(self, flags: FaultFlags) -> str | None:
        """Its value, as the shell gave it."""
        value: str | None = getattr(flags, self.field)
        return value


def _rate(field: str, kind: str, *risks: str, then: str) -> FaultFlag:
    return FaultFlag(field=field, kind=kind, spec=f"{kind} rate={{value}}", risks=risks, then=then)


def _down(field: str, kind: str, *risks: str, then: str) -> FaultFlag:
    return FaultFlag(
        field=field,
        kind=kind,
        spec=f"{kind} at={{at_ms}}ms for={{ms}}ms",
        risks=risks,
        then=then,
        most=_SECONDS_MAX,
        unit="seconds",
    )


_BY_DEDUPE: Final = "--off dedupe,inbox"

FAULT_FLAGS: Final = (
    _rate("duplicate_rate", "bus.duplicate", "effect-once", "no-double-charge", then=_BY_DEDUPE),
    _rate("drop_ack_rate", "bus.drop_ack", "effect-once", "no-lost-event", then=_BY_DEDUPE),
    _rate("reorder_rate", "bus.reorder", "per-key-order", then="--off commit_prefix"),
    FaultFlag(
        field="delay_ms",
        kind="bus.delay",
        spec="bus.delay rate=1 by={value}ms",
        risks=("converges",),
        then="--off commit_prefix",
        most=_DELAY_MS_MAX,
        unit="milliseconds",
    ),
    _rate(
        "poison_rate",
        "bus.poison",
        "dlq-sound",
        "dlq-complete",
        "converges",
        then="--off dead_letter",
    ),
    _rate("error_rate", "svc.error", "converges", then="--off retry"),
    _rate("timeout_rate", "svc.timeout", "converges", "deadline", then="--off timeout"),
    _rate(
        "hang_rate",
        "svc.hang_after_effect",
        "no-double-charge",
        "money-matches",
        then="--off provider_key",
    ),
    _rate(
        "crash_rate",
        "proc.crash",
        "accepted-is-durable",
        "no-lost-event",
        "effect-once",
        "no-double-charge",
        then="--off inbox,dedupe",
    ),
    _down(
        "redis_down",
        "redis.down",
        "effect-once",
        "converges",
        then="--duplicate-rate 0.2 --off inbox",
    ),
    _down(
        "postgres_down",
        "pg.shutdown",
        "accepted-is-durable",
        "no-lost-event",
        "converges",
        then="--off http_idempotency",
    ),
    _down("broker_down", "bus.down", "no-lost-event", "converges", then="--off outbox"),
)
"""Every flag of `lab chaos` alone, but `--for`."""


def make_scenario(options: "RunOptions", flags: Chaos) -> "Scenario":
    """The scenario that the flags ask for.

    Args:
        options: of the run; the scenario is made for them.
        flags: of `lab chaos`.

    Raises:
        OptionError: a value is out of range, the length of the load contradicts itself or is not
            known, or nothing is to go wrong.
        FaultError: a fault cannot be understood.
    """
    from lab.faults.table.spec import parse_fault
    from lab.scenarios.scenario import Scenario

    values = FlagValues()
    given = _read_faults(values, flags)
    if not given and not options.faults:
        raise OptionError(
            "say what is to go wrong, such as lab chaos --duplicate-rate 0.2 (see: lab chaos "
            "--help)"
        )
    seconds = values.number("for", flags.for_)
    orders, rate = _load(options, seconds)
    wanted = {flag: value for flag, value in given.items() if value > 0}
    specs = [_spec(flag, value, options, orders / rate) for flag, value in wanted.items()]
    risks = (promise for flag in wanted for promise in flag.risks)
    kinds = [flag.kind for flag in wanted]
    kinds += [one.kind for one in map(parse_fault, options.faults) if one.rate > 0]
    command = ("lab", "chaos", *_words(given, seconds))
    return Scenario(
        name="chaos",
        summary=", ".join([*specs, *options.faults]) or "nothing goes wrong",
        worlds=("simulated", "real"),
        orders=orders,
        rate=rate,
        faults=tuple(specs),
        promises=tuple(dict.fromkeys(risks)),
        goals=tuple(f"{kind} >= 1" for kind in dict.fromkeys(kinds)),
        next=tuple(f"{' '.join(command)} {flag.then}" for flag in [*wanted][:_NEXT]),
        command=command,
        compares=flags.seeds is None,
    )


def _read_faults(values: FlagValues, flags: FaultFlags) -> dict[FaultFlag, float]:
    """The value of each flag that was given, or whose variable was."""
    found = {
        flag: values.number_between(flag.name, flag.value(flags), (0, flag.most), flag.unit)
        for flag in FAULT_FLAGS
    }
    return {flag: value for flag, value in found.items() if value is not None}


def _load(options: "RunOptions", seconds: float | None) -> tuple[int, float]:
    """How many orders, and how many a second; a file of orders has its own number of them."""
    orders, rate = options.orders, options.rate
    if seconds is not None and options.orders_from is not None:
        raise OptionError(
            "--for and --orders-from contradict each other: a file is as long as it is; take "
            "--orders"
        )
    if seconds is None:
        return orders or DEFAULT_ORDERS, rate or DEFAULT_RATE
    if orders is not None and rate is not None:
        raise OptionError("--orders, --rate and --for contradict each other: leave one of them out")
    if orders is not None:
        return orders, orders / seconds
    from lab.scenarios.loader import MAX_ORDERS

    rate = rate or DEFAULT_RATE
    if rate * seconds > MAX_ORDERS:
        raise OptionError(
            f"--for {_number(seconds)} at {_number(rate)} orders a second is more than the "
            f"{MAX_ORDERS:,} orders that a run may have: shorten it"
        )
    return max(round(rate * seconds), 1), rate


def _spec(flag: FaultFlag, value: float, options: "RunOptions", load_s: float) -> str:
    """The fault that a flag is short for, as `--fault` takes it."""
    if not flag.is_outage:
        return flag.spec.format(value=_number(value))
    if options.orders_from is not None:
        raise OptionError(
            f"--{flag.name} begins at {OUTAGE_FROM:.0%} of the load, and nobody knows how long "
            f"{options.orders_from} is: take --fault '{flag.kind} at=10s for={_number(value)}s'"
        )
    at_ms = round(load_s * OUTAGE_FROM * 1_000)
    return flag.spec.format(at_ms=at_ms, ms=max(round(value * 1_000), 1))


def _words(given: Mapping[FaultFlag, float], seconds: float | None) -> Sequence[str]:
    """The flags that were given, as they are written."""
    words = [word for flag, value in given.items() for word in (f"--{flag.name}", _number(value))]
    return words if seconds is None else [*words, "--for", _number(seconds)]


def _number(value: float) -> str:
    """As short as it can be, and never like 1e-05."""
    return f"{value:.6f}".rstrip("0").rstrip(".")
