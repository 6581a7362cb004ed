"""Questions and requests to the payment gateway that were needless: the answer was known.

Not here: a later attempt that should have asked and did not (`attempts`), and the money that moved
(`promises/money.py`).
"""

from typing import Final

from lab.checks.case_notes import MoneySent
from lab.checks.contract import Contract
from lab.checks.order_case import Case
from lab.checks.process_life import ProcessLife
from lab.checks.tables import CHARGE_IN, MOVES_MONEY, REFUND_IN
from lab.history.calls import CallBeginEntry, HandleBeginEntry
from lab.history.entries import maker, subject_of

_NO_CALL: Final = (-1, "")
_handled: Final = maker(HandleBeginEntry)
_sent: Final = maker(MoneySent)


def needless(case: Case, contract: Contract) -> str:
    """A call to the gateway that was not needed, in words; "" if there is none.

    A run asks and then sends, each once; a commit that a rival was faster with is the one excuse
    for another round. Nobody asks about money that is not announced, or as long as it may simply be
    sent again under its key.
    """
    if case.called_again:
        again = case.called_again[0]
        what = "the gateway was asked" if again.action == "query" else f"a {again.action} was sent"
        return f"{what} although the same run had its answer already"
    for question in case.questions:
        run = question.run
        if run is None:
            continue
        begun_us, asked_us = run.t_us - contract.skew_us, question.t_us + contract.skew_us
        if not _is_announced(case, begun_us, asked_us):
            return "the gateway was asked about money that was not announced"
        is_early = run.attempt <= contract.query_after and not run.redrives
        if is_early and _may_send(case, contract, begun_us, asked_us):
            return f"the gateway was asked in attempt {run.attempt}, which may send again"
    return ""


def note_call(life: ProcessLife, case: Case, entry: CallBeginEntry) -> None:
    """A process calls the gateway, in a run of a handler for that order or in none."""
    _, t_us, process, subject, provider, action, key, deadline_us = entry
    run = None
    for begun in life.handlers.values():
        if subject_of(begun) == subject:
            run = _handled(begun)
            break
    call = _sent((t_us, process, action, key, run))
    if action in MOVES_MONEY:
        case.sent += (call,)
    else:
        case.questions += (call,)
    if run is not None:
        if deadline_us > run.deadline_us:
            life.longer += ((subject, f"{provider}.{action}", deadline_us - run.deadline_us),)
        begun_us, before = life.last_calls.get(subject, _NO_CALL)
        if begun_us == run.t_us and (action == "query" or before != "query"):
            case.called_again += (call,)
        life.last_calls[subject] = (run.t_us, action)


def note_given(life: ProcessLife, call: CallBeginEntry) -> None:
    """A call was given longer than any may take; within its handler's time that is no harm."""
    for each in life.handlers.values():
        run = _handled(each)
        more_us = call.deadline_us - run.deadline_us
        if run.subject == call.subject and more_us > 0:
            life.longer += ((call.subject, f"{call.provider}.{call.action}", more_us),)
            return


def _is_announced(case: Case, begun_us: int, asked_us: int) -> bool:
    """Whether an intent was open at some moment of that time."""
    opened: dict[tuple[str, int], int] = {}
    for intent in case.intents:
        name = intent.intent_kind, intent.n
        if intent.op != "close":
            opened.setdefault(name, intent.t_us)
        elif intent.t_us < begun_us:
            opened.pop(name, None)
    return any(opened_us <= asked_us for opened_us in opened.values())


def _may_send(case: Case, contract: Contract, begun_us: int, asked_us: int) -> bool:
    """Whether money may be moved for the order as it stood all the time, under a key that holds."""
    rows = case.rows
    if any(begun_us <= row.t_us <= asked_us for row in rows):
        return False
    state = next((row.state for row in reversed(rows) if row.t_us < begun_us), "")
    created_us = rows[0].t_us if rows else 0
    age_us = asked_us + contract.slack_us - created_us
    if age_us > contract.key_trusted_us:
        return False
    return state in REFUND_IN or (state in CHARGE_IN and age_us < contract.expiry_us)
