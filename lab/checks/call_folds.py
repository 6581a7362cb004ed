"""What processes say of themselves, entry by entry: deliveries, handlers, commits, calls, claims.

One method per kind of entry, called some eighty times an order, so each does the least that any
check needs; each notes, none judges. Not here: what witnesses say (`fact_folds`).
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from lab.checks.claims import Claims
from lab.checks.contract import Contract
from lab.checks.order_case import Ack, Again, Case, Died, Disorder, Owed
from lab.checks.order_cases import Casebook
from lab.checks.partition_track import Tracks
from lab.checks.process_life import Early, Ended, Health, Life, Overdue, group_of
from lab.checks.tables import CALL_FAILED, MOVES_MONEY, THIRD_PARTIES
from lab.history import shapes

Fold = Callable[[Any], None]
"""Takes an entry of the kind that it was registered for."""


class CallFolds:
    """Fills lives, tracks and cases.

    Args:
        contract: the limits beyond which something is noted.

    Attributes:
        lives: by name, in the order of their first entry. claims: of events.
        kills: lives that were killed, by group. epochs: highest epoch, by group.
    """

    def __init__(self, contract: Contract, book: Casebook, tracks: Tracks) -> None:
        self._contract = contract
        self._book = book
        self._open = book.open
        self._tracks = tracks
        self._handler_us = contract.handler_us + contract.slack_us
        self._provider_us = contract.provider_us + contract.slack_us
        self._ended: deque[Life] = deque()
        self.lives: dict[str, Life] = {}
        self.kills: dict[str, int] = {}
        self.epochs: dict[str, int] = {}
        self.claims = Claims()

    def folds(self) -> Mapping[str, Fold]:
        """What to call with the entries of each kind."""
        return {
            "life": self._life_event,
            "deliver": self._deliver,
            "settle": self._settle,
            "position": self._position,
            "held": self._held,
            "owned": self._owned,
            "revoked": self._revoked,
            "drained": self._drained,
            "stalled": self._stalled,
            "handle.begin": self._handle_begin,
            "handle.end": self._handle_end,
            "commit.begin": self._commit_begin,
            "commit.end": self._commit_end,
            "call.begin": self._call_begin,
            "call.end": self._call_end,
            "breaker": self._breaker,
            "claim": self.claims.claimed,
            "complete": self.claims.completed,
            "retrying": self._retrying,
            "buried": self._buried,
        }

    def _life_event(self, entry: shapes.LifeEvent) -> None:
        _, t_us, process, _, event = entry
        life = self._life(process)
        if event == "term":
            life.term_us = t_us if life.term_us is None else life.term_us
        elif event == "pause":
            life.pauses.append((t_us, None))
        elif event == "resume":
            life.resume(t_us)
        elif event in ("kill", "stopped", "aborted") and life.end_us is None:
            life.end, life.end_us = event, t_us
            self._ended.append(life)
            if event == "kill":
                group = group_of(process)
                self.kills[group] = self.kills.get(group, 0) + 1
                life.started_again.clear()

    def sweep(self, now_us: int) -> None:
        """Time has come to `now_us`: of a life that ended long enough before, all was told."""
        ended = self._ended
        while ended and (ended[0].end_us or 0) + self._contract.linger_us <= now_us:
            self._end_life(ended.popleft())

    def close(self, now_us: int) -> None:
        """The history is complete: look at what still runs."""
        while self._ended:
            self._end_life(self._ended.popleft())
        for life in self.lives.values():
            if life.end_us is None:
                self._note_overdue(life, now_us)
        for track in self._tracks.values():
            track.conclude()

    def _end_life(self, life: Life) -> None:
        """What was in hand is lost, or was left.

        Not when its end is told: the supervisor tells it, the rest the process itself, and neither
        waits for the other.
        """
        assert life.end_us is not None
        self._note_overdue(life, life.end_us)
        if life.end != "kill":
            life.left_open = tuple(life.in_hand.values())
        else:
            for (subject, group, _), begun_us in life.committing.items():
                case = self._open.get(subject)
                if case is not None:
                    case.died += (Died(group, begun_us, life.end_us),)
        life.forget()

    def _note_overdue(self, life: Life, now_us: int) -> None:
        """Handlers that have run too long by now. A call that hangs is made by one of them."""
        for run in life.handlers.values():
            lasted_us = now_us - run[1]
            if lasted_us > self._handler_us:
                never = Overdue(run[3], f"handler of {run[6]}", run[1], lasted_us, Ended.NEVER)
                life.overdue += (never,)

    # ---- the delivery loop

    def _life(self, process: str) -> Life:
        life = self.lives.get(process)
        if life is None:
            life = self.lives[process] = Life(process)
        return life

    def _deliver(self, entry: shapes.Deliver) -> None:
        process = entry[2]
        life = self.lives.get(process) or self._life(process)
        life.delivered += 1
        in_hand = life.in_hand
        in_hand[entry[5:8]] = entry
        if len(in_hand) > life.in_hand_max:  # noqa: PLR1730 - `max` is a call, nine times an order
            life.in_hand_max = len(in_hand)
        if entry[11] > self._contract.attempts_max:
            self._book.case(entry[3]).attempts_over += ((entry[4], entry[9]),)
        if life.not_before:
            self._look_at_time(life, entry)
        acked = self._tracks[entry[4:7]].start(entry)
        if acked is not None:
            self._started_again(acked, entry)

    def _settle(self, entry: shapes.Settle) -> None:
        process, how = entry[2], entry[10]
        life = self.lives.get(process) or self._life(process)
        begun = life.in_hand.pop(entry[5:8], None)
        if (entry[8] < life.epoch or entry[8] <= life.lost_epoch) and how not in (
            "stale",
            "release",
        ):
            life.stale += (entry,)
        if how == "ack":
            life.acks += 1
            started = self._tracks[entry[4:7]].ack(entry)
            if started is not None:
                self._started_again(entry, started)
            why = entry[11]
            if why != "unread":
                case = self._open.get(entry[3]) or self._book.case(entry[3])
                owed = (entry[4], entry[9])
                # As handled: the process itself saw the commit, before.
                if why != "handled" or process not in case.settled.get(owed, ()):
                    self._ack(case, owed, entry)
        elif how == "retry":
            attempt = begun[11] if begun is not None else 1
            again = Again(entry[4], entry[9], attempt, entry[1], entry[12])
            self._book.case(entry[3]).again += (again,)
            life.not_before[entry[5:8]] = (attempt, entry[1] + entry[12])
        if life.said:
            self._look_at_word(life, entry, begun)

    def _started_again(self, acked: shapes.Settle, started: shapes.Deliver) -> None:
        told = self._tracks[acked[4:7]].told_by(acked[2])
        self._life(acked[2]).note_again(acked, started, told)

    def _look_at_time(self, life: Life, entry: shapes.Deliver) -> None:
        """A delivery that was settled with a retry comes back; it may not come too early."""
        made = life.not_before.pop(entry[5:8], None)
        if made is None or entry[11] < made[0]:
            return
        early_us = made[1] - entry[1]
        if early_us > self._contract.skew_us:
            life.early += (Early(entry[3], early_us, is_next=entry[11] > made[0]),)

    def _look_at_word(self, life: Life, entry: shapes.Settle, begun: shapes.Deliver | None) -> None:
        """A retry that was announced is settled: with the delay that it was announced with."""
        said = life.said.pop((entry[4], entry[9]), None)
        if said is None or entry[10] != "retry" or begun is None or begun[11] != said[0]:
            return
        is_its = entry[1] - said[1] <= self._contract.slack_us
        if is_its and entry[12] + self._contract.skew_us < said[2]:
            life.early += (Early(entry[3], said[2] - entry[12], is_next=True),)

    def _ack(self, case: Case, owed: Owed, entry: shapes.Settle) -> None:
        """An acknowledgement that something else must stand behind."""
        if entry[11] == "done":
            case.suppressed += (owed,)
        else:
            case.acks += (Ack(*owed, entry[11], entry[5]),)

    def _position(self, entry: shapes.Position) -> None:
        self._tracks[entry[4:7]].tell(entry[2], entry[7], entry[8])

    def _held(self, entry: shapes.Held) -> None:
        life = self._life(entry[2])
        life.held_max = max(life.held_max, entry[5])

    def _owned(self, entry: shapes.Owned) -> None:
        life = self._life(entry[2])
        life.epoch = entry[5]
        self.epochs[entry[4]] = max(self.epochs.get(entry[4], 0), entry[5])
        # What the process held under the assignment before is not its any more.
        life.in_hand.clear()
        life.not_before.clear()
        life.said.clear()

    def _revoked(self, entry: shapes.Owned) -> None:
        self._life(entry[2]).lost_epoch = entry[5]

    def _drained(self, entry: shapes.Drained) -> None:
        self._life(entry[2]).drained = (entry[5], entry[6], entry[7])

    def _stalled(self, entry: shapes.Stalled) -> None:
        self._life(entry[2]).stalls += ((entry[1] - entry[4], entry[1]),)

    # ---- handlers

    def _handle_begin(self, entry: shapes.HandleBegin) -> None:
        _, _, process, subject, group, event_id, _, attempt, sequence, _, topic = entry
        life = self.lives.get(process) or self._life(process)
        handlers = life.handlers
        handlers[group, event_id] = entry
        life.runs += 1
        if len(handlers) > life.handlers_max:  # noqa: PLR1730 - as above
            life.handlers_max = len(handlers)
        case = self._open.get(subject) or self._book.case(subject)
        lane, lanes = (process, group, topic), case.lanes
        if lane in lanes and sequence < lanes[lane]:
            case.disorders += (Disorder(process, group, topic, lanes[lane], sequence),)
        else:
            lanes[lane] = sequence
        if attempt > 1:
            case.started_again += (entry,)
        if life.said:
            life.said.pop((group, event_id), None)
        if life.hints:
            life.hints.pop(subject, None)

    def _handle_end(self, entry: shapes.HandleEnd) -> None:
        process = entry[2]
        life = self.lives.get(process) or self._life(process)
        begun = life.handlers.pop(entry[4:6], None)
        if begun is not None and entry[1] - begun[1] > self._handler_us:
            lasted_us = entry[1] - begun[1]
            late = Overdue(entry[3], f"handler of {entry[6]}", begun[1], lasted_us, Ended.LATE)
            life.overdue += (late,)
        if entry[8] != "ok":
            self._book.case(entry[3]).failures += (entry,)

    def _commit_begin(self, entry: shapes.CommitBegin) -> None:
        process = entry[2]
        life = self.lives.get(process) or self._life(process)
        life.committing[entry[3:6]] = entry[1]

    def _commit_end(self, entry: shapes.CommitEnd) -> None:
        process = entry[2]
        life = self.lives.get(process) or self._life(process)
        life.committing.pop(entry[3:6], None)
        if not entry[6] or entry[7] != "committed":
            return
        subject, owed = entry[3], entry[4:6]
        case = self._open.get(subject) or self._book.case(subject)
        saw = case.settled.get(owed)
        if saw is None:
            case.settled[owed] = (process,)
        else:
            case.committed_again += (owed,)
            case.settled[owed] = (*saw, process)

    # ---- calls to third parties

    def _call_begin(self, entry: shapes.CallBegin) -> None:
        if entry[5] in MOVES_MONEY:
            self._book.case(entry[3]).sent += (entry[6],)

    def _call_end(self, entry: shapes.CallEnd) -> None:
        t_us, process, provider, took_us = entry[1], entry[2], entry[4], entry[9]
        life = self.lives.get(process) or self._life(process)
        life.called += 1
        if entry[5] == "query":
            life.asked += 1
        if took_us > self._provider_us:
            late = Overdue(entry[3], f"{provider}.{entry[5]}", t_us - took_us, took_us, Ended.LATE)
            life.overdue += (late,)
        health = life.health.get(provider) or self._health(life, provider)
        if (
            health.failed_us or health.open_us is not None or health.half_us is not None
        ) and self._should_not_be(health, t_us - took_us):
            life.calls_down += (entry[3],)
        if entry[10] and entry[7] == "Throttled":
            until_us = t_us + entry[10]
            life.hints[entry[3]] = min(until_us, life.hints.get(entry[3], until_us))
        if entry[7] in CALL_FAILED:
            life.unanswered += entry[7] == "Indeterminate"
            if provider in THIRD_PARTIES:
                health.failed_us.append(t_us)
                life.failing_spells += self._was_down(health, t_us)
        elif entry[7] != "cancelled":
            health.fine_us = t_us

    def _health(self, life: Life, provider: str) -> Health:
        # Others may have failed while a call was under way: as many as there are workers.
        failures = self._contract.breaker_calls_min + self._contract.workers
        return life.health.setdefault(provider, Health(failures))

    def _was_down(self, health: Health, at_us: int) -> bool:
        """Known at `at_us`: its breaker was open, or all calls of a window had failed.

        Enough of them, within four fifths of it: a breaker counts in coarse slices and may have
        dropped one. The window ends with the last failure, which is when a breaker looks: what
        succeeded before does not get worse by growing old.
        """
        if health.open_us is not None:
            return health.open_us < at_us
        window_us = self._contract.breaker_window_us
        failed_us = [each for each in health.failed_us if each <= at_us]
        if not failed_us or failed_us[-1] < at_us - window_us:
            return False
        last_us = failed_us[-1]
        if health.fine_us is not None and health.fine_us >= last_us - window_us:
            return False
        start_us = last_us - window_us * 4 // 5
        return sum(each >= start_us for each in failed_us) >= self._contract.breaker_calls_min

    def _should_not_be(self, health: Health, at_us: int) -> bool:
        """Whether a call that began at `at_us` was made in spite of what was known."""
        is_second_probe = self._is_second_probe(health, at_us)
        return is_second_probe or self._was_down(health, at_us)

    def _is_second_probe(self, health: Health, at_us: int) -> bool:
        """Whether a call that began at `at_us` was one too many while its breaker was half open."""
        if health.half_us is None:
            return False
        from_us, until_us = health.half_us
        if at_us < from_us or (until_us is not None and at_us >= until_us):
            return False
        health.probes += 1
        return health.probes > 1

    def _breaker(self, entry: shapes.Breaker) -> None:
        t_us, state = entry[1], entry[5]
        life = self._life(entry[2])
        health = life.health.get(entry[4]) or self._health(life, entry[4])
        is_open = state == "open"
        if state == "half_open":
            health.half_us, health.probes = (t_us, None), 0
            if health.open_us is not None:
                left_us = health.open_us + self._contract.breaker_open_us - t_us
                if left_us <= self._contract.slack_us:
                    health.open_us = None
        else:
            health.open_us = t_us if is_open else None
            if health.half_us is not None and health.half_us[1] is None:
                health.half_us = (health.half_us[0], t_us)
        # From here on the breaker says what is known, and lets its probes through.
        health.failed_us.clear()
        life.failing_spells += is_open

    # ---- retries, dead letters

    def _retrying(self, entry: shapes.Retrying) -> None:
        self._book.case(entry[3]).retrying += (entry,)
        life, where = self._life(entry[2]), entry[8]
        if where in ("in_place", "throttled"):
            life.said[entry[4:6]] = (entry[6], entry[1], entry[9])
        if where == "throttled":
            early_us = life.hints.pop(entry[3], 0) - entry[1] - entry[9]
            if early_us > self._contract.skew_us:
                life.early += (Early(entry[3], early_us, is_next=True),)
        elif where == "in_place":
            contract = self._contract
            life.in_place += 1
            covered = contract.budget_tokens + contract.budget_refill * life.acks
            if life.in_place > covered * (len(life.health) + 1):
                life.in_place_over += 1

    def _buried(self, entry: shapes.Buried) -> None:
        self._book.case(entry[3]).buried += (entry,)
