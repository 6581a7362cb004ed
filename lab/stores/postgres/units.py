"""Many units of work as the arrays of one statement, and its answer as a verdict for each.

Not here: the batches (`lab/stores/group_commit.py`), and the statement itself
(`sql/0002_commit.sql`).
"""

from collections.abc import Hashable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Final
from zlib import crc32

import msgspec

from lab.domain.envelope import Envelope
from lab.domain.order import OrderState
from lab.ports.store import IntentOp, Unit, UnitVerdict

_PENDING: Final = OrderState.PENDING._value_
_to_json: Final = msgspec.json.Encoder().encode

_WIDTHS: Final = (5, 10, 6, 12, 14, 6, 6, 6)
"""Arguments of `commit_units` by part: o, c, h, i, e, r, a, k."""

_key: Final = itemgetter(1)
_event_and_group: Final = itemgetter(1, 2)

_ARGUMENTS: Final = sum(_WIDTHS) + 1

_PLACES: Final = ", ".join(f"${number}" for number in range(1, _ARGUMENTS + 1))

COMMIT: Final = f"select refused, verdict from commit_units({_PLACES})"  # noqa: S608 - of constants only
"""The statement; its arguments are those of `to_arguments`."""


def claims(unit: Unit) -> Iterator[Hashable]:
    """The claims of a unit in a statement: its order, its outcome, its HTTP key."""
    if unit.order_id:
        yield unit.order_id
    if unit.create is not None and unit.create.id != unit.order_id:
        yield unit.create.id
    if unit.outcome is not None:
        yield unit.outcome.group, unit.outcome.event_id
    if unit.http_key is not None:
        yield "key", unit.http_key.key


def storable(text: str) -> str:
    """`text` as PostgreSQL can hold it: ids and keys of foreign records may contain anything."""
    if text.isprintable():
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def shard_of(order_id: str, shards: int) -> int:
    """The shard of the outbox in which the events of an order stand."""
    return crc32(order_id.encode()) % shards


def to_arguments(units: Sequence[Unit], shards: int) -> list[Any]:
    """The arguments of `COMMIT`: the parts of all units by kind, each kind sorted by its key."""
    o: list[tuple[Any, ...]] = []
    c: list[tuple[Any, ...]] = []
    h: list[tuple[Any, ...]] = []
    i: list[tuple[Any, ...]] = []
    e: list[tuple[Any, ...]] = []
    r: list[tuple[Any, ...]] = []
    a: list[tuple[Any, ...]] = []
    k: list[tuple[Any, ...]] = []
    touched: set[int] = set()
    for place, unit in enumerate(units):
        event = unit.events[0] if unit.events else None
        if unit.create is not None:
            c.append(_create(place, unit))
            h.append(_version(place, unit.create.id, 1, _PENDING, event))
        elif unit.change is not None or unit.intents or unit.in_states:
            _add_order(place, unit, event, o, h, i)
        if event is not None and unit.outboxed:
            shard = shard_of(event.subject, shards)
            touched.add(shard)
            e.append(_event(place, shard, event))
        _add_rest(place, unit, r, a, k)
    for rows in (o, c, k):
        rows.sort(key=_key)
    r.sort(key=_event_and_group)
    arguments: list[Any] = []
    for rows, width in zip((o, c, h, i, e, r, a, k), _WIDTHS, strict=True):
        arguments.extend(zip(*rows, strict=True) if rows else [()] * width)
    arguments.append(",".join(map(str, sorted(touched))))
    return arguments


def to_verdicts(units: int, refused: Sequence[Any]) -> list[UnitVerdict]:
    """The verdict of each unit from the rows of `COMMIT`."""
    verdicts = [UnitVerdict.COMMITTED] * units
    for place, verdict in refused:
        verdicts[place] = UnitVerdict(verdict)
    return verdicts


def _add_order(
    place: int,
    unit: Unit,
    event: Envelope | None,
    o: list[tuple[Any, ...]],
    h: list[tuple[Any, ...]],
    i: list[tuple[Any, ...]],
) -> None:
    """The part of a unit that concerns an order that exists."""
    change, order_id = unit.change, storable(unit.order_id)
    states = _states(unit.in_states)
    if change is None:
        o.append((place, order_id, None, states, None))
    else:
        to = change.to._value_
        o.append((place, order_id, change.version, states, to))
        h.append(_version(place, order_id, change.version + 1, to, event))
    for step in unit.intents:
        intent = step.intent
        i.append(
            (
                place,
                order_id,
                step.op._value_,
                intent.kind._value_,
                intent.n,
                intent.key,
                intent.amount_cents,
                intent.currency,
                intent.send_until_us,
                _states(step.while_in),
                step.expected_send_until_us,
                # An intent may be closed at any time.
                0 if step.op is IntentOp.CLOSE else step.before_us,
            )
        )


def _add_rest(
    place: int,
    unit: Unit,
    r: list[tuple[Any, ...]],
    a: list[tuple[Any, ...]],
    k: list[tuple[Any, ...]],
) -> None:
    """Everything but the order and its events."""
    outcome, revenue, key = unit.outcome, unit.revenue, unit.http_key
    subject = storable(unit.lab_subject)
    if outcome is not None:
        group, event_id = outcome.group, storable(outcome.event_id)
        r.append((place, event_id, group, outcome.is_dead, outcome.redrives, subject))
    if revenue is not None:
        a.append(
            (place, revenue.currency, revenue.amount_cents, unit.by, storable(unit.cause), subject)
        )
    if key is not None:
        k.append((place, key.key, key.body_sha256, key.status, key.answer, subject))


def _states(states: Sequence[OrderState]) -> str:
    """Names between commas, so that a name is found by looking for it between commas."""
    return f",{','.join([state._value_ for state in states])}," if states else ""


def _create(place: int, unit: Unit) -> tuple[Any, ...]:
    create = unit.create
    assert create is not None
    order = create.order
    return (
        place,
        create.id,
        create.lab_subject,
        order.customer_id,
        order.country,
        order.currency,
        order.amount_cents,
        _to_json(order.items).decode(),
        create.expiry_us,
        create.traceparent,
    )


def _version(
    place: int, order_id: str, version: int, state: str, event: Envelope | None
) -> tuple[Any, ...]:
    if event is None:
        return place, order_id, version, state, "", ""
    return place, order_id, version, state, event.id, event.type


def _event(place: int, shard: int, event: Envelope) -> tuple[Any, ...]:
    return (
        place,
        shard,
        event.id,
        event.type,
        event.source,
        event.subject,
        event.sequence,
        event.time_us,
        event.data,
        event.correlation_id,
        event.causation_id,
        event.traceparent,
        event.expires_us,
        event.lab_subject,
    )
