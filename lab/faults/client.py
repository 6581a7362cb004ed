"""Faults of the client: its mistakes and its whims, decided per order.

Not here: the client, which does them (`lab.scenarios.client`).
"""

from lab.faults.plan.plan import FaultPlan, Firing, Site
from lab.faults.table.row import CLIENT


class ClientInjector:
    """The `client.*` faults of one run; each question is one visit of the order."""

    def __init__(self, plan: FaultPlan) -> None:
        self._retry = self._site(plan, "client.retry_same_key")
        self._other_body = self._site(plan, "client.same_key_new_body")
        self._unsound = self._site(plan, "client.unsound_order")
        self._large = self._site(plan, "client.large_order")
        self._abandon = self._site(plan, "client.abandon")
        self._double = self._site(plan, "client.double_submit")
        self._cancel = self._site(plan, "client.cancel")
        self._look = self._site(plan, "client.look")

    def retries_same_key(self, subject: str) -> bool:
        """Whether the client sends the request again although it was answered."""
        return _asked(self._retry, subject) is not None

    def changes_body(self, subject: str) -> bool:
        """Whether it asks for something else under the key of an order that was accepted."""
        return _asked(self._other_body, subject) is not None

    def breaks_a_rule(self, subject: str) -> bool:
        """Whether it asks for an order too that the shop must refuse."""
        return _asked(self._unsound, subject) is not None

    def asks_for_much(self, subject: str) -> str:
        """Whether it asks for a large order too: the `most` that is taken, `more`, or ""."""
        firing = _asked(self._large, subject)
        return "" if firing is None else str(firing.params["size"])

    def abandons_after_us(self, subject: str) -> int | None:
        """How long after it has sent the order it leaves, for good; None: it waits."""
        firing = _asked(self._abandon, subject)
        return None if firing is None else firing.number("after")

    def double_submits(self, subject: str) -> bool:
        """Whether it sends the order twice, without a key."""
        return _asked(self._double, subject) is not None

    def cancels(self, subject: str) -> tuple[int, int, int, str, bool] | None:
        """When after the answer it cancels, how often, how far apart, the key, whether it slips."""
        firing = _asked(self._cancel, subject)
        if firing is None:
            return None
        key = str(firing.params.get("key", "none"))
        slips = firing.params.get("slip", "no") == "yes"
        return firing.number("after"), firing.number("times"), firing.number("pause"), key, slips

    def looks(self, subject: str) -> tuple[int, int] | None:
        """How often it looks at the order that was accepted, how far apart; None: never."""
        firing = _asked(self._look, subject)
        return None if firing is None else (firing.number("times"), firing.number("pause"))

    def has_lookers(self) -> bool:
        """Whether any client of the run may look at its order."""
        return self._look is not None

    @staticmethod
    def _site(plan: FaultPlan, kind: str) -> Site | None:
        return plan.at(kind, CLIENT) if plan.wants(kind) else None


def _asked(site: Site | None, subject: str) -> Firing | None:
    return None if site is None else site.fires(subject)
