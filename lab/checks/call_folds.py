"""Folds over calls, entry by entry: lives, handlers, commits, calls to third parties, retries.

One method a kind of entry. Each does the least that any check needs; it notes and does not judge.
Not here: deliveries (`delivery_folds`), claims (`claims`), facts (`fact_folds`).
"""

from collections import deque
from collections.abc import Mapping

from lab.checks.case_notes import Died, Disorder
from lab.checks.claims import Claims
from lab.checks.contract import Contract
from lab.checks.dependency_health import Health
from lab.checks.doubts import Denied, Unheard
from lab.checks.fact_folds import Fold
from lab.checks.floods import note_pause
from lab.checks.order_case import owed_of
from lab.checks.order_cases import Casebook
from lab.checks.process_life import Announced, Early, Ended, Lives, Overdue, ProcessLife, group_of
from lab.checks.questions import note_call, note_given
from lab.checks.retry_budget import Buckets
from lab.checks.tables import (
    ABOUT_MONEY,
    CALL_FAILED,
    CUSTOMERS,
    REPLAYED,
    THIRD_PARTIES,
    THROTTLED,
)
from lab.history.calls import (
    BreakerEntry,
    BuriedEntry,
    CallBeginEntry,
    CallEndEntry,
    CommitBeginEntry,
    CommitEndEntry,
    DeliverEntry,
    DrainedEntry,
    HandleBeginEntry,
    HandleEndEntry,
    PausedEntry,
    RetryingEntry,
    StalledEntry,
)
from lab.history.entries import time_of
from lab.history.facts import LifeEntry


class CallFolds:
    """Fills lives and cases.

    Args:
        contract: the limits beyond which something is noted.

    Attributes:
        claims: of events.
        kills: lives that were killed, by group.
    """

    def __init__(self, contract: Contract, book: Casebook, lives: Lives) -> None:
        self._contract = contract
        self._book = book
        self._open = book.open
        self._lives = lives
        self._stored: set[tuple[str, str, str]] = set()
        """Running handlers whose outcome was seen committed: process, group, event id."""
        self._handler_us = contract.handler_us + contract.slack_us
        self._provider_us = contract.provider_us + contract.slack_us
        self._ended: deque[ProcessLife] = deque()
        self.kills: dict[str, int] = {}
        self.claims = Claims(contract.done_us)

    def folds(self) -> Mapping[str, Fold]:
        """The fold for the entries of each kind, as their type."""
        return {
            "life": self._life_event,
            "drained": self._drained,
            "stalled": self._stalled,
            "breaker": self._breaker,
            "paused": self._paused,
            "retrying": self._retrying,
            "buried": self._buried,
        }

    def hot_folds(self) -> Mapping[str, Fold]:
        """The fold for the entries of each kind, as plain tuples."""
        return {
            "handle.begin": self._handle_begin,
            "handle.end": self._handle_end,
            "commit.begin": self._commit_begin,
            "commit.end": self._commit_end,
            "call.begin": self._call_begin,
            "call.end": self._call_end,
            **self.claims.hot_folds(),
        }

    # ---- lives

    def _life_event(self, entry: LifeEntry) -> None:
        life, event, t_us = self._lives[entry.process], entry.event, entry.t_us
        if event == "term":
            life.term_us = t_us if life.term_us is None else life.term_us
        elif event == "pause":
            life.pauses.append((t_us, None))
        elif event == "resume":
            life.resume(t_us)
        elif event in ("kill", "exited", "stopped", "aborted") and life.end_us is None:
            # To everybody else a process that ended by itself is one that was killed.
            life.end, life.end_us = "kill" if event == "exited" else event, t_us
            self._ended.append(life)
            if life.end == "kill":
                group = group_of(life.name)
                self.kills[group] = self.kills.get(group, 0) + 1
                life.started_again.clear()

    def sweep(self, now_us: int) -> None:
        """Time has come to `now_us`: a life that ended long enough before has no more entries."""
        ended = self._ended
        while ended and (ended[0].end_us or 0) + self._contract.linger_us <= now_us:
            self._end_life(ended.popleft())

    def close(self, now_us: int) -> None:
        """The history is complete: look at the lives that go on."""
        while self._ended:
            self._end_life(self._ended.popleft())
        for life in self._lives.values():
            if life.end_us is None:
                self._note_overdue(life, now_us)

    def _end_life(self, life: ProcessLife) -> None:
        """The work in its hand is lost, or was left.

        Not done at the entry of its end: the supervisor writes that one, the process itself writes
        the others, and neither waits for the other.
        """
        assert life.end_us is not None
        self._note_overdue(life, life.end_us)
        if life.end != "kill":
            life.left_open = tuple(map(DeliverEntry._make, life.in_hand.values()))
        else:
            for (subject, group, _), begun_us in life.committing.items():
                case = self._open.get(subject)
                if case is not None:
                    case.died += (Died(group, begun_us, life.end_us),)
        life.forget()

    def _note_overdue(self, life: ProcessLife, now_us: int) -> None:
        """Handlers that have run too long by now. A call that hangs is made by one of them."""
        for run in map(HandleBeginEntry._make, life.handlers.values()):
            lasted_us = now_us - run.t_us
            if lasted_us > self._handler_us:
                what = f"handler of {run.event_type}"
                life.overdue += (Overdue(run.subject, what, run.t_us, lasted_us, Ended.NEVER),)

    def _drained(self, entry: DrainedEntry) -> None:
        self._lives[entry.process].drained = entry

    def _stalled(self, entry: StalledEntry) -> None:
        self._lives[entry.process].stalls += ((entry.t_us - entry.for_us, entry.t_us),)

    # ---- handlers and their commits

    def _handle_begin(self, entry: HandleBeginEntry) -> None:  # noqa: C901 - hot: see `_settle`
        (
            _,
            t_us,
            process,
            subject,
            group,
            event_id,
            _,
            attempt,
            sequence,
            _,
            topic,
            epoch,
            digest,
            redrives,
        ) = entry
        life = self._lives[process]
        handlers = life.handlers
        handlers[group, event_id] = entry
        life.runs += 1
        if len(handlers) > life.handlers_max:  # noqa: PLR1730 - as above
            life.handlers_max = len(handlers)
        case = self._open.get(subject) or self._book.case(subject)
        case.runs += 1
        key, running = (group, subject), life.running
        if key in running and running[key] == epoch:
            case.overlaps += (HandleBeginEntry._make(entry),)
        running[key] = epoch
        if subject not in life.given:
            case.ungiven += (HandleBeginEntry._make(entry),)
        first = case.published.get(event_id)
        if first is None or first.digest != digest or first.topic != topic:
            case.unmatched += (HandleBeginEntry._make(entry),)
        lane, lanes = (process, group, topic), case.lanes
        if lane in lanes and sequence < lanes[lane]:
            case.disorders += (Disorder(process, group, topic, lanes[lane], sequence),)
        else:
            lanes[lane] = sequence
        if attempt > 1 or redrives:
            case.started_again += (HandleBeginEntry._make(entry),)
        if life.announced:
            life.announced.pop((group, event_id), None)
        if life.hints:
            life.hints.pop(subject, None)
        if life.away:
            life.heed(subject, event_id, t_us + self._contract.skew_us)
        if life.failed:
            life.failed.pop(subject, None)

    def _handle_end(self, entry: HandleEndEntry) -> None:
        _, t_us, process, subject, group, event_id, event_type, _, result, _ = entry
        life = self._lives[process]
        if (group, subject) in life.running:
            del life.running[group, subject]
        life.last_calls.pop(subject, None)
        begun = life.handlers.pop((group, event_id), None)
        if begun is not None and t_us - time_of(begun) > self._handler_us:
            what, begun_us = f"handler of {event_type}", time_of(begun)
            life.overdue += (Overdue(subject, what, begun_us, t_us - begun_us, Ended.LATE),)
        is_stored = (process, group, event_id) in self._stored
        if is_stored:
            self._stored.discard((process, group, event_id))
        if result == "ok":
            if life.budget is not None:
                life.budget.succeeded()
        else:
            case, failed = self._book.case(subject), HandleEndEntry._make(entry)
            life.runs_failed += 1
            case.failures += (failed,)
            if is_stored and begun is not None and t_us < HandleBeginEntry._make(begun).deadline_us:
                case.in_vain += (failed,)
            if result == "cancelled":
                life.cut += ((subject, t_us),)
            elif result == "Throttled" and subject in life.hints:
                life.away[event_id] = life.hints[subject]

    def _commit_begin(self, entry: CommitBeginEntry) -> None:
        _, t_us, process, subject, group, event_id, _ = entry
        self._lives[process].committing[subject, group, event_id] = t_us

    def _commit_end(self, entry: CommitEndEntry) -> None:
        _, _, process, subject, group, event_id, settles, result = entry
        life = self._lives[process]
        begun_us = life.committing.pop((subject, group, event_id), None)
        if not settles or result != "committed":
            if result == "conflict":
                life.last_calls.pop(subject, None)
            elif settles:
                denied = Denied(group, event_id, begun_us or 0, result)
                self._book.case(subject).denied += (denied,)
            return
        owed = (group, event_id)
        if owed in life.handlers:
            self._stored.add((process, *owed))
        case = self._open.get(subject) or self._book.case(subject)
        saw = case.settled.get(owed)
        if saw is None:
            case.settled[owed] = (process,)
        else:
            case.committed_again += (owed,)
            case.settled[owed] = (*saw, process)

    # ---- calls to third parties

    def _call_begin(self, entry: CallBeginEntry) -> None:
        _, t_us, process, subject, _, action, _, deadline_us = entry
        if action in ABOUT_MONEY:
            note_call(self._lives[process], self._book.case(subject), entry)
        elif deadline_us - t_us > self._provider_us:
            note_given(self._lives[process], CallBeginEntry._make(entry))

    def _call_end(self, entry: CallEndEntry) -> None:
        _, t_us, process, subject, provider, action, key, result, _, took_us, hint_us = entry
        life = self._lives[process]
        life.called += 1
        if action == "query":
            life.asked += 1
        elif provider == CUSTOMERS:
            case = self._open.get(subject) or self._book.case(subject)
            case.looked += ((key, result),)
        began_us = t_us - took_us
        if took_us > self._provider_us:
            late = Overdue(subject, f"{provider}.{action}", began_us, took_us, Ended.LATE)
            life.overdue += (late,)
        health = life.health.get(provider) or self._health(life, provider)
        if health.forbade(began_us):
            life.calls_down += (subject,)
        if hint_us:
            case, away_us = self._book.case(subject), life.hinted(CallEndEntry._make(entry))
            case.asked_away_us = max(case.asked_away_us, away_us)
        if result in CALL_FAILED:
            life.failed[subject] = (*life.failed.get(subject, ()), (provider, result))
            life.unanswered += result == "Indeterminate"
            if provider in THIRD_PARTIES:
                life.failing_spells += health.failed(t_us)
        elif result != "cancelled":
            health.succeeded(t_us)
            if result == REPLAYED:
                life.failed[subject] = (*life.failed.get(subject, ()), (provider, result))
            return
        unheard = Unheard(provider, action, began_us, t_us, result)
        self._book.case(subject).unheard += (unheard,)

    def _health(self, life: ProcessLife, provider: str) -> Health:
        return life.health.setdefault(provider, Health(self._contract))

    def _breaker(self, entry: BreakerEntry) -> None:
        life = self._lives[entry.process]
        health = life.health.get(entry.dependency) or self._health(life, entry.dependency)
        wrong = health.turned(entry.state, entry.t_us)
        if wrong:
            life.wrong_turns += (f"{entry.dependency} {wrong}",)
        life.failing_spells += entry.state == "open"

    def _paused(self, entry: PausedEntry) -> None:
        note_pause(self._lives[entry.process], entry, self._contract)

    # ---- retries, dead letters

    def _retrying(self, entry: RetryingEntry) -> None:
        self._book.case(entry.subject).retrying += (entry,)
        life, where = self._lives[entry.process], entry.where
        # A longer hint waits in a retry topic: what is settled until it stands there is no wait.
        is_parked = where == THROTTLED and entry.delay_us > self._contract.cap_us
        if where in ("in_place", THROTTLED) and not is_parked:
            announced = Announced(entry.attempt, entry.t_us, entry.delay_us)
            life.announced[owed_of(entry)] = announced
        if where == THROTTLED:
            early_us = life.hints.pop(entry.subject, 0) - entry.t_us - entry.delay_us
            if early_us > self._contract.skew_us:
                life.early += (Early(entry.subject, early_us, is_next=True),)
        elif where == "in_place":
            contract = self._contract
            life.in_place += 1
            covered = contract.budget_tokens + contract.budget_refill * life.acks
            budget = life.budget or self._budget(life)
            has_token = budget.take(life.failed_of(entry.subject, entry.error_class))
            if life.in_place > covered * (len(life.health) + 1) or not has_token:
                life.in_place_over += 1
        elif where.startswith("tier.") and entry.attempt < self._contract.in_place:
            budget = life.budget or self._budget(life)
            life.too_soon += budget.had_one(life.failed_of(entry.subject, entry.error_class))

    def _budget(self, life: ProcessLife) -> Buckets:
        life.budget = Buckets(self._contract)
        return life.budget

    def _buried(self, entry: BuriedEntry) -> None:
        self._book.case(entry.subject).buried += (entry,)
        life = self._lives[entry.process]
        life.away.pop(entry.event_id, None)
        life.letters.append((entry.t_us, life.fine()))
