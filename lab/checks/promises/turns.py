"""The promise about turns: what is due has its turn in time, among new records and retries.

Not here: how early and how often an event is tried again (`retries`).
"""

from typing import Final

from lab.checks.case_notes import Turn
from lab.checks.check import Check, Seen, seconds
from lab.checks.contract import Contract
from lab.checks.order_case import Case, owed_of
from lab.checks.process_life import Late

_WAITED_KEPT: Final = 4_096
"""So many events that waited for long are looked at; a run of any length takes bounded memory."""


class RetryInTime(Check):
    """A retry that is due is handed over before too many records that are not.

    Late is a retry that was due for longer than `late_us` while its process brought many more
    records of main topics (`Contract.outrun_max`) than retries to their end. So nothing that holds
    the whole process back counts against it: an outage of a third party, a pause, a limiter, a
    stall. Left out is what its own key waited for, and the time in which the group could not reach
    the broker: a member goes on then with what it has at hand. Nor does a retry that is not due
    hold up others: while a process has nothing else in hand, no record stands there that is due.
    """

    name = "retry-in-time"
    sentence = "what is due waits neither behind a backlog of new records nor behind early retries"

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._late: list[tuple[Case, str, Late]] = []
        self._waited: list[tuple[str, Late]] = []

    def judge(self, case: Case) -> None:
        rows, outcomes = case.rows, case.outcomes
        if rows and outcomes and outcomes[-1].t_us - rows[0].t_us > self.contract.late_us:
            self._note_waits(case)
        for turn in case.turns:
            self.checked += 1
            if turn.outrun_us < 0:
                continue
            due_us = self._due_us(case, turn)
            if due_us is None or turn.outrun_us <= due_us:
                continue
            late = Late(case.subject, turn.group, due_us, turn.t_us)
            if turn.t_us - due_us > self.contract.late_us:
                self._late.append((case, turn.process, late))

    def conclude(self, seen: Seen) -> None:
        for case, process, late in self._late:
            if not seen.facts.was_out(late.group, late.due_us, late.t_us):
                self.breaks(case, _too_late(process, late))
        for life in seen.lives:
            for late in life.late:
                if not seen.facts.was_out(late.group, late.due_us, late.t_us):
                    ordinal = late.subject.partition(".")[0]
                    self.broken(f"order {ordinal}: {_too_late(life.name, late)}", late.subject)
        self._conclude_waits(seen)

    def _note_waits(self, case: Case) -> None:
        """Events that were handled long after they were due, and never failed.

        Left out are those far down a partition: that may have paused behind an unsettled record.
        """
        done_us: dict[str, int] = {}
        deepest = self.contract.max_uncommitted // 2
        for outcome in case.outcomes:
            group, t_us = outcome.group, outcome.t_us
            record, before_us = case.published.get(outcome.event_id), done_us.get(group, 0)
            done_us[group] = t_us
            if record is None or record.offset >= deepest or len(self._waited) >= _WAITED_KEPT:
                continue
            late = Late(case.subject, group, max(record.t_us, before_us), t_us)
            if late.t_us - late.due_us <= self.contract.late_us or _has_waits(case, group):
                continue
            for process in case.settled.get(owed_of(outcome), ()):
                self._waited.append((process, late))

    def _conclude_waits(self, seen: Seen) -> None:
        """A record must not stand there for long while its process has nothing but early retries.

        These take no place of what a subscription may have in flight.
        """
        late_us = self.contract.late_us
        lives = {life.name: life for life in seen.lives if life.idle}
        for process, late in self._waited if lives else ():
            life = lives.get(process)
            if life is None:
                continue
            since_us = max(late.due_us, life.owned_us) + late_us
            idle_us = next((t_us for t_us in life.idle if since_us < t_us < late.t_us), None)
            if (
                idle_us is not None
                and not seen.facts.was_out(late.group, late.due_us, late.t_us)
                and not life.stood_still_us(late.due_us, late.t_us)
            ):
                ordinal, due = late.subject.partition(".")[0], seconds(late.due_us)
                what = f"what was due at {due} had not begun at {seconds(idle_us)}"
                self.broken(
                    f"order {ordinal}: {what}, and {process} had only early retries in hand",
                    late.subject,
                )

    def _due_us(self, case: Case, turn: Turn) -> int | None:
        """When a record could have been run: it was due, and nothing of its key was in hand."""
        place = (turn.topic, turn.partition, turn.offset)
        for record in case.parked:
            if (record.topic, record.partition, record.offset) == place:
                break
        else:
            return None
        _, _, tier = turn.topic.rpartition(".")
        tiers = self.contract.tiers_us
        delay_us = tiers[int(tier) - 1] if tier.isdigit() and int(tier) <= len(tiers) else 0
        due_us = record.t_us + delay_us + self.contract.skew_us
        for ack in case.acks:
            if ack.group == turn.group and ack.t_us <= turn.t_us:
                due_us = max(due_us, ack.t_us)
        for again in case.again:
            if again.group == turn.group and again.t_us <= turn.t_us:
                # What waits in place holds its key, unless its partition was lost before.
                held_us = again.t_us + again.after_us
                due_us = max(due_us, held_us if held_us <= turn.t_us else again.t_us)
        for group, t_us in case.handled:
            if group == turn.group and t_us <= turn.t_us:
                due_us = max(due_us, t_us)
        return due_us


def _has_waits(case: Case, group: str) -> bool:
    """Whether an event of the order had to wait in the group for a reason of its own."""
    return (
        any(again.group == group for again in case.again)
        or any(run.group == group for run in case.failures)
        or any(record.topic.split(".")[1] == group for record in case.parked)
    )


def _too_late(process: str, late: Late) -> str:
    """A retry that did not come in time, in words."""
    return (
        f"a retry in {process} was due at {seconds(late.due_us)} and had its turn at "
        f"{seconds(late.t_us)}, behind records that came later"
    )
