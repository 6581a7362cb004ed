"""The promise about the times that events tell: of their change, and of their order's expiry.

Not here: whether an order does expire then (`expiry`).
"""

from typing import Final

from lab.checks.check import Check, seconds
from lab.checks.order_case import Case
from lab.history.contents import NO_TIME
from lab.history.facts import AppendedEntry, RowEntry

_CLOSER_LOOK: Final = frozenset({"CANCELLED", "EXPIRED"})
_TELLS_EXPIRY: Final = "OrderValidated"
"""The event of an order that nothing but its payment keeps from expiring."""


class TimesTold(Check):
    """A change is decided when its cause is known, and not after it is committed.

    The cause is what came before, by a witness of its own: the order's last change (the store), the
    event that led to it (the log), the request (the client), or the declared expiry. When an order
    expires is told once, by the event that asks for its payment, and before that time.
    """

    name = "times-told"
    sentence = "an event tells when it was decided, and the one that asks for payment until when"

    def judge(self, case: Case) -> None:
        rows = case.rows
        if not rows or case.is_revived:
            return
        event, early_us = case.published.get, self.contract.skew_us
        late_us = early_us + self.contract.slack_us
        due_us = rows[0].t_us + self.contract.expiry_us
        known_us = case.begun[0].t_us if case.begun else 0
        self.checked += len(case.published)
        for row in rows:
            record, t_us, state = event(row.event_id), row.t_us, row.state
            if record is not None:
                cause, decided_us, expires_us = (
                    event(record.cause_id),
                    record.decided_us,
                    record.expires_us,
                )
                if cause is not None and cause.t_us > known_us:
                    known_us = cause.t_us
                # Nearly always all is well, and that is seen without a call.
                if known_us - early_us <= decided_us <= t_us + late_us and (
                    expires_us == NO_TIME and state not in _CLOSER_LOOK
                    if state != "VALIDATED"
                    else -late_us <= expires_us - due_us <= late_us and decided_us < due_us
                ):
                    known_us = t_us
                    continue
                wrong = self._wrong(case, row, record, known_us)
                if wrong:
                    self.breaks(case, f"{record.event_type} in {record.topic} {wrong}")
                    return
            known_us = t_us

    def _wrong(self, case: Case, row: RowEntry, record: AppendedEntry, known_us: int) -> str:
        """The fault in the times that an event tells, in words; "" if there is none."""
        contract, decided_us, expires_us = self.contract, record.decided_us, record.expires_us
        if decided_us == NO_TIME:
            return "does not say when it was decided"
        due_us = case.rows[0].t_us + contract.expiry_us
        if row.state == "EXPIRED":
            known_us = max(known_us, due_us - contract.slack_us)
        elif row.state == "CANCELLED" and case.cancel_begun:
            known_us = max(known_us, case.cancel_begun[0].t_us)
        if decided_us < known_us - contract.skew_us:
            early = seconds(known_us - decided_us)
            return f"says that it was decided {early} before its cause was known"
        late_us = contract.skew_us + contract.slack_us
        if decided_us > row.t_us + late_us:
            return f"says that it was decided {seconds(decided_us - row.t_us)} after its commit"
        if record.event_type != _TELLS_EXPIRY:
            says = "says that its order expires, and it does not any more"
            return says if expires_us != NO_TIME else ""
        if expires_us == NO_TIME:
            return "does not say when its order expires"
        if decided_us > due_us + late_us:
            return f"asks for its payment {seconds(decided_us - due_us)} after its time was up"
        if abs(expires_us - due_us) > late_us:
            told, due = seconds(expires_us), seconds(due_us)
            return f"says that its order expires at {told}; its time is up at {due}"
        return ""
