"""Faults of third parties: the decision about each call.

Not here: the effect of a fault on a call (`lab.ports.faults` says it, `lab.providers` has it).
"""

from typing import Final

from lab.faults.plan.plan import FaultPlan, Firing, Site
from lab.faults.table.row import PROVIDERS
from lab.ports.faults import CallFault, CallFaultKind, CallFaults

KINDS_BY_NAME: Final = {
    "svc.flapping": CallFaultKind.ERROR,
    "svc.rate_limit": CallFaultKind.ERROR,
    "svc.error": CallFaultKind.ERROR,
    "svc.refuse_refund": CallFaultKind.REFUSED,
    "svc.timeout": CallFaultKind.TIMEOUT,
    "svc.acts_late": CallFaultKind.ACTS_LATE,
    "svc.hang_after_effect": CallFaultKind.HANG_AFTER_EFFECT,
    "svc.late_reply": CallFaultKind.LATE_REPLY,
    "svc.slow": CallFaultKind.SLOW,
    "svc.malformed": CallFaultKind.MALFORMED,
}
"""The effect of each on a call, in the order in which they strike: states of a provider first."""

_TOO_MANY: Final = 429
_MOVES: Final = ("charge", "refund", "send")
_ACTIONS: Final = {
    "svc.acts_late": _MOVES,
    "svc.hang_after_effect": _MOVES,
    "svc.refuse_refund": ("refund",),
}
"""The calls that a kind is about, if not all."""


class ProviderFaults(CallFaults):
    """The `svc.*` faults of one run; one object serves all processes.

    Each call counts for every kind, whichever of them strikes, so that adding a fault moves no
    other. If several coins ask for one, the first of `KINDS_BY_NAME` strikes.
    """

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan
        self._sites: dict[str, tuple[Site, ...]] = {
            provider: tuple(
                plan.at(kind, provider) for kind in KINDS_BY_NAME if plan.wants(kind, provider)
            )
            for provider in PROVIDERS
        }
        # Those that are about a call, by provider and action.
        self._about: dict[tuple[str, str], tuple[Site, ...]] = {}

    @staticmethod
    def is_wanted(plan: FaultPlan) -> bool:
        """Whether the run has any of these faults."""
        return any(plan.wants(kind) for kind in KINDS_BY_NAME)

    def strike(self, provider: str, action: str, subject: str) -> CallFault | None:
        about = self._about.get((provider, action))
        if about is None:
            about = self._about[provider, action] = tuple(
                site
                for site in self._sites[provider]
                if action in _ACTIONS.get(site.kind, (action,))
            )
        firing = self._plan.first(about, subject)
        return None if firing is None else _fault(firing)


def _fault(firing: Firing) -> CallFault:
    kind = KINDS_BY_NAME[firing.kind]
    match firing.kind:
        case "svc.error":
            return CallFault(
                kind=kind,
                status=firing.number("status"),
                is_stored=firing.params["stored"] == "yes",
                is_done=firing.params.get("done") == "yes",
                after_us=firing.number("after"),
            )
        case "svc.flapping":
            return CallFault(kind=kind, status=firing.number("status"))
        case "svc.rate_limit":
            return CallFault(kind=kind, status=_TOO_MANY, after_us=firing.number("after"))
        case "svc.acts_late":
            is_cut = firing.params["cut"] == "yes"
            is_seen = firing.params["seen"] == "yes"
            return CallFault(kind=kind, by_us=firing.number("by"), is_cut=is_cut, is_seen=is_seen)
        case "svc.late_reply":
            return CallFault(kind=kind, by_us=firing.number("by"))
        case "svc.slow":
            times = firing.number("times")
            return CallFault(kind=kind, times=times or 1, by_us=0 if times else firing.number("by"))
        case _:
            return CallFault(kind=kind)
