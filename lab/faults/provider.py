"""Faults of third parties: decides about each call; the provider's simulation carries it out.

Not here: what a fault does to a call (`lab.ports.faults` says it, `lab.providers` does it).
"""

from typing import Final

from lab.faults.plan import FaultPlan, Firing, Site
from lab.faults.rows import PROVIDERS
from lab.ports.faults import CallFault, CallFaultKind, CallFaults

KINDS_BY_NAME: Final = {
    "svc.error": CallFaultKind.ERROR,
    "svc.timeout": CallFaultKind.TIMEOUT,
    "svc.hang_after_effect": CallFaultKind.HANG_AFTER_EFFECT,
}
_MOVES: Final = ("charge", "refund", "send")
_HANG: Final = "svc.hang_after_effect"


class ProviderFaults(CallFaults):
    """The `svc.*` faults of one run; one object serves all processes.

    Each call counts for every kind, whichever of them strikes, so that adding a fault moves no
    other. If several coins ask for one, the first in the order of the vocabulary strikes.
    """

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan
        self._sites: dict[str, tuple[Site, ...]] = {
            provider: tuple(
                plan.at(kind, provider) for kind in KINDS_BY_NAME if plan.wants(kind, provider)
            )
            for provider in PROVIDERS
        }

    @staticmethod
    def is_wanted(plan: FaultPlan) -> bool:
        """Whether the run has any of these faults."""
        return any(plan.wants(kind) for kind in KINDS_BY_NAME)

    def strike(self, provider: str, action: str, subject: str) -> CallFault | None:
        sites = self._sites[provider]
        if action not in _MOVES:
            sites = tuple(site for site in sites if site.kind != _HANG)
        firing = self._plan.first(sites, subject)
        return None if firing is None else _fault(firing)


def _fault(firing: Firing) -> CallFault:
    kind = KINDS_BY_NAME[firing.kind]
    if kind is not CallFaultKind.ERROR:
        return CallFault(kind=kind)
    return CallFault(
        kind=kind,
        status=firing.number("status"),
        is_stored=firing.params["stored"] == "yes",
        after_us=firing.number("after"),
    )
