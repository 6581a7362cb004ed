"""The line under `Again`: the command that runs exactly the same once more."""

import shlex
from collections.abc import Iterator, Sequence

from lab.scenarios.run_options import RunOptions
from lab.wiring.spec import RunSpec, WorldSpec


def reproduce_line(spec: RunSpec) -> str:
    """The command of a run, with every option that was asked for."""
    command = spec.scenario.command or ("lab", "run", spec.scenario.name)
    flags = (*_flags_of_the_run(spec.options), *_flags_of_the_world(spec.options, spec.world))
    return shlex.join([*command, "--seed", str(spec.seed), *flags])


def as_value(value: object) -> str:
    """A value of a policy as `--set NAME=VALUE` takes it."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _flags_of_the_run(options: RunOptions) -> Iterator[str]:
    """The flags behind the seed, and their values, as far as they were given."""
    yield from _value("--orders", options.orders)
    yield from _value("--rate", options.rate)
    yield from _value("--orders-from", options.orders_from or None)
    yield from _value("--speed", None if options.speed == 1.0 else options.speed)
    yield from _each("--fault", options.faults)
    yield from _together("--off", options.off)
    yield from _each("--set", [f"{key}={as_value(one)}" for key, one in options.settings.items()])
    yield from _together("--only", options.only)
    yield from _each("--scenarios", [str(path) for path in options.scenarios])
    yield from _switch("--beyond-contract", is_on=options.beyond_contract)
    yield from _value("--history", None if options.history == "witnesses" else options.history)


def _flags_of_the_world(options: RunOptions, world: WorldSpec) -> Iterator[str]:
    if world.is_real:
        yield "--real"
    else:
        yield from _backend("--bus", world.bus)
        yield from _backend("--store", world.store)
        yield from _backend("--dedupe", world.dedupe)
        yield from _switch("--wall-clock", is_on=world.is_live and world.is_in_memory)
    yield from _switch("--keep", is_on=options.keep)


def _value(flag: str, value: float | str | None) -> Iterator[str]:
    if value is not None:
        yield flag
        yield f"{value:g}" if isinstance(value, float) else str(value)


def _each(flag: str, values: Sequence[str]) -> Iterator[str]:
    for value in values:
        yield flag
        yield value


def _together(flag: str, values: Sequence[str]) -> Iterator[str]:
    if values:
        yield flag
        yield ",".join(values)


def _switch(flag: str, *, is_on: bool) -> Iterator[str]:
    if is_on:
        yield flag


def _backend(flag: str, name: str) -> Iterator[str]:
    return _value(flag, None if name == "memory" else name)
