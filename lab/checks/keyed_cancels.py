"""Cancels under an Idempotency-Key, with whatever else was asked for under the same key.

Not here: repeated requests for an order (`fact_folds.Ask`), and whether an order could still be
cancelled (`promises/asked.py`).
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from lab.checks.fact_folds import FactFolds
from lab.checks.order_case import Case
from lab.checks.tables import KEY_REUSED, KEY_RUNNING
from lab.history.requests import HttpBeginEntry, HttpEndEntry

_API: Final = "api"


class Wish(NamedTuple):
    """One request under a key.

    Attributes:
        subject: the order that it is about.
        op: `create` or `cancel`. Two requests wish the same if subject and op are the same.
        status: 0 without an answer.
    """

    subject: str
    op: str
    begun_us: int
    end_us: int
    status: int
    problem: str
    digest: str

    def is_other(self, than: "Wish") -> bool:
        """Whether it wishes something else."""
        return (self.subject, self.op) != (than.subject, than.op)

    @property
    def is_granted(self) -> bool:
        """Whether its client was told so."""
        return 200 <= self.status < 300

    @property
    def is_in_doubt(self) -> bool:
        """Whether its client was not told what became of it."""
        return not 0 < self.status < 500


class KeyedCancels:
    """The requests under each key under which somebody asked for a cancel."""

    def __init__(self) -> None:
        self._by_key: dict[str, list[Wish]] = {}

    def __len__(self) -> int:
        return sum(wish.op == "cancel" for wishes in self._by_key.values() for wish in wishes)

    def note(self, case: Case) -> None:
        """Remember those about one order."""
        answers = {answer.send: answer for answer in case.cancel_answers}
        for begun in case.cancel_begun:
            if begun.key:
                wishes = self._by_key.setdefault(begun.key, [])
                wishes.append(_wish(begun, answers.get(begun.send)))
                if not case.begun:
                    # The order was forgotten: nobody knows any more whether this was its key.
                    wishes.append(Wish(begun.subject, "create", 0, 0, 0, "", ""))
        created = {answer.send: answer for answer in case.answers}
        for begun in case.begun:
            if begun.key in self._by_key:
                wish = _wish(begun, created.get(begun.send))
                if case.is_revived and case.rows:
                    # Nothing else is left of it than that it was accepted.
                    wish = wish._replace(end_us=0, status=201)
                self._by_key[begun.key].append(wish)

    def faults(self, facts: FactFolds) -> Iterator[tuple[str, str]]:
        """What was wrong, in words, with the order that it was about."""
        for wishes in self._by_key.values():
            for wish in wishes:
                wrong = wish.op == "cancel" and _fault(wish, wishes, facts)
                if wrong:
                    yield wish.subject, wrong
                    break


def _wish(begun: HttpBeginEntry, ended: HttpEndEntry | None) -> Wish:
    if ended is None:
        return Wish(begun.subject, begun.op, begun.t_us, begun.t_us, 0, "", "")
    told = (ended.t_us, ended.status, ended.problem, ended.answer_digest)
    return Wish(begun.subject, begun.op, begun.t_us, *told)


def _fault(wish: Wish, wishes: Sequence[Wish], facts: FactFolds) -> str:
    """The fault in the answer to a cancel, in words; "" if there is none, or nobody knows."""
    if wish.is_in_doubt:
        return ""
    others = [each for each in wishes if each.is_other(wish)]
    if wish.problem == KEY_REUSED:
        if any(
            (each.is_granted or each.is_in_doubt) and each.begun_us <= wish.end_us
            for each in others
        ):
            return ""
        return "its cancel was refused by its key, which stands for nothing else"
    if wish.problem == KEY_RUNNING:
        if any(
            each is not wish
            and each.begun_us <= wish.end_us
            and (each.is_in_doubt or each.end_us >= wish.begun_us)
            for each in wishes
        ):
            return ""
        return "its cancel was put off, and no other request under its key was under way"
    if wish.is_granted and any(each.is_granted for each in others):
        return "its cancel was granted under the key of another wish that was granted"
    # Who cannot read the keys may still say that it is too late.
    if any(each.is_granted and each.end_us <= wish.begun_us for each in others) and not (
        facts.was_refused(_API, wish.begun_us, wish.end_us)
        or facts.was_out(_API, wish.begun_us, wish.end_us)
    ):
        return f"its cancel under the key of another wish was answered with {wish.status}"
    if wish.is_granted and any(
        each.is_granted and each.digest != wish.digest for each in wishes if each not in others
    ):
        return "its cancel got two different answers under one key"
    return ""
