"""The orders of a run, made up or out of a file, and the customers who place them.

Not here: the making (`lab.scenarios`), and the client that posts them.
"""

from collections.abc import Sequence

from lab.runtime.chance import KeyedChance
from lab.scenarios.made_up import made_up
from lab.scenarios.workload import Workload, customers_of
from lab.wiring.backends.memory_servers import is_blocked
from lab.wiring.spec import RunSpec


def make_workload(spec: RunSpec) -> Workload:
    """The orders of a run, to be taken once.

    Raises:
        OrdersFileError: the file of orders cannot be used.
    """
    if spec.orders_from:
        from lab.scenarios.orders_file import from_file  # noqa: PLC0415 - only such runs need it

        return from_file(
            spec.orders_from,
            seed=spec.seed,
            orders=spec.orders,
            rate=spec.rate,
            speed=spec.options.speed,
        )
    assert spec.orders is not None, "made-up orders are counted"
    assert spec.rate is not None, "made-up orders have a rate"
    return made_up(spec.seed, spec.orders, spec.rate, spec.scenario.spike)


def blocked_customers(spec: RunSpec) -> Sequence[str]:
    """The customers of a run whose record says no; the orders are made for this once more.

    Raises:
        OrdersFileError: the file of orders cannot be used.
    """
    if not spec.settings.number("validation.rejected_percent"):
        return ()
    chance, everybody = KeyedChance(spec.seed), customers_of(make_workload(spec))
    return tuple(one for one in everybody if is_blocked(spec.settings, chance, one))
