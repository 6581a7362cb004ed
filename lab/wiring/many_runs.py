"""The entrance for tens of thousands of small simulated runs in one process.

A spec is made once, by `make_spec`; its scenario, faults and policies are not parsed again. What
changes from run to run is replaced in it. Not here: files, goals and the words of a result, which
such a run does without (`run`, `outcome`).
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from lab.wiring.outcome import Ran
from lab.wiring.spec import RunSpec, make_spec
from lab.wiring.workload import make_workload
from lab.wiring.worlds.simulated_run import simulate

SMALL: Final[Mapping[str, int]] = MappingProxyType(
    {"bus.partitions": 1, "bus.workers": 2, "outbox.shards": 1}
)
"""Policies of a run of a few orders: it needs no more, and is set up in less time."""


def judged(spec: RunSpec) -> Ran:
    """Make one simulated run and judge it: its findings, tally and digest; nothing is written.

    Raises:
        KeyboardInterrupt: Ctrl-C came: a part of a run is no answer to any question.
        OrdersFileError: the file of orders cannot be used.
        CheckError, SimulationError: a mistake of the lab's own.
    """
    assert not spec.world.is_live, "only a simulated run is made by the thousand"
    with closing(make_workload(spec)) as workload:
        ran = simulate(spec, workload)
    if ran.is_partial:
        raise KeyboardInterrupt
    return ran


def with_seed(spec: RunSpec, seed: int) -> RunSpec:
    """The same run under another seed; a swarm draws anew.

    Raises:
        ScenarioError, SettingError: only of a swarm, see `make_spec`.
    """
    options = replace(spec.options, seed=seed)
    if spec.drawn is not None:
        drawn = make_spec(replace(options, scenario=spec.scenario))
        return replace(drawn, options=options, watch=spec.watch)
    return replace(spec, options=options, seed=seed)
