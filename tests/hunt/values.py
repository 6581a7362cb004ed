"""Slips on what is said and counted: keys, amounts, states, events, attempts, times."""

import ast
from collections.abc import Iterator
from typing import Final

from tests.hunt.changes import FRESH, Change, arithmetic, becomes, calling, constant, text
from tests.hunt.classes import class_table, event_types
from tests.hunt.places import Place

_KEYS: Final = frozenset(
    {"key", "charge_key", "cause_id", "event_id", "id", "order_id", "group", "subject", "by"}
)
_NOT_OURS: Final = frozenset({"lab_subject", "traceparent", "subject_header"})
"""Of the lab, or of traces."""

_COUNTS: Final = frozenset(
    {
        *("attempt", "attempts", "attempts_max", "batch", "in_place", "n", "offset", "position"),
        *("redrives", "sequence", "shard", "starts", "tier", "unexplained", "version"),
    }
)
_FAR_US: Final = 1 << 60
_LIMITS: Final = ("before", "deadline", "expected", "expires", "expiry", "timeout", "until")
_ANY_ORDER: Final = ("min", "max")
_SPEAKING: Final = (ast.Compare, ast.IfExp, ast.Return, ast.Assign, ast.keyword, ast.Call)
"""Where a word means something."""


def wrong_state(place: Place) -> Iterator[Change]:
    """Another member of an enum: the one after, and the one before."""
    node = place.node
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        members = place.enum_of(node.value)
        if node.attr in members:
            at = members.index(node.attr)
            others = dict.fromkeys((members[(at + 1) % len(members)], members[at - 1]))
            for other in others:
                if other != node.attr:
                    yield becomes(place, _attribute(node, other), f"{node.attr} -> {other}")


def wrong_event(place: Place) -> Iterator[Change]:
    """Another type of event with the same fields; another word of the same table."""
    node = place.node
    if isinstance(node, ast.Name) and node.id in event_types() and place.role == "func":
        fields = class_table()[node.id].fields
        others = [
            name
            for name in event_types()
            if name != node.id and class_table()[name].fields.keys() == fields.keys()
        ]
        for other in others[:2]:
            yield becomes(place, ast.Name(id=other, ctx=ast.Load()))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        for word in _other_words(place, node.value):
            yield becomes(place, constant(word))


def _other_words(place: Place, word: str) -> Iterator[str]:
    parent = place.parent
    if isinstance(parent, ast.Dict):
        among = parent.values if place.role == "values" else parent.keys
        words = [
            each.value
            for each in among
            if isinstance(each, ast.Constant) and isinstance(each.value, str)
        ]
        rest = [each for each in dict.fromkeys(words) if each != word]
        yield from rest[:1] or [f"{word}-not"]
    elif word in event_types():
        at = event_types().index(word)
        yield event_types()[(at + 1) % len(event_types())]
    elif isinstance(parent, _SPEAKING) and not _is_raised(place):
        yield f"{word}-not"


def wrong_key(place: Place) -> Iterator[Change]:
    """One key for all, or a new one for every call."""
    node = place.node
    if isinstance(node, ast.keyword) and node.arg in _KEYS and not _is_fixed(node.value):
        path = (*place.path, "value")
        yield Change(f"{node.arg} is always the same", ((path, constant("same")),))
        fresh = calling(FRESH, node.value)
        yield Change(f"{node.arg} is new each time", ((path, fresh),))


def wrong_field(place: Place) -> Iterator[Change]:
    """Another field of the same type."""
    node = place.node
    if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, ast.Load):
        return
    facts = place.class_of(node.value)
    if facts is None or node.attr not in facts.fields or node.attr in _NOT_OURS:
        return
    others = [name for name in facts.like(node.attr) if name not in _NOT_OURS]
    for other in others[:2]:
        yield becomes(place, _attribute(node, other))


def wrong_amount(place: Place) -> Iterator[Change]:
    """Half of it, or one more; a factor that is ignored."""
    node = place.node
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        yield becomes(place, node.left)
        yield becomes(place, node.right)
    elif isinstance(node, ast.Attribute | ast.Name) and "cents" in _loaded_name(node):
        yield becomes(place, arithmetic(node, ast.FloorDiv(), 2))
        yield becomes(place, arithmetic(node, ast.Add(), 1))


def wrong_currency(place: Place) -> Iterator[Change]:
    """One currency for all orders."""
    node = place.node
    if _loaded_name(node) == "currency":
        yield becomes(place, constant("JPY"))


def off_by_one(place: Place) -> Iterator[Change]:
    """One attempt, tier, version or limit more or less; a bound that is, or is not, part of it."""
    node = place.node
    if isinstance(node, ast.Constant) and type(node.value) is int and node.value < 1000:
        yield becomes(place, constant(node.value + 1), _called(place, node.value, 1))
        if node.value > 0:
            yield becomes(place, constant(node.value - 1), _called(place, node.value, -1))
    elif isinstance(node, ast.Attribute | ast.Name):
        name = _loaded_name(node).lstrip("_")
        if name in _COUNTS and place.role in ("args", "value", "left", "comparators"):
            yield becomes(place, arithmetic(node, ast.Add(), 1))
            yield becomes(place, arithmetic(node, ast.Sub(), 1))
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        other = _BOUNDS.get(type(node.ops[0]))
        if other is not None:
            after = ast.Compare(left=node.left, ops=[other()], comparators=node.comparators)
            yield becomes(place, after)


_BOUNDS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}


def lost_count(place: Place) -> Iterator[Change]:
    """A count that does not grow, and a sum that is the other way round."""
    node = place.node
    if isinstance(node, ast.AugAssign):
        yield becomes(place, ast.Pass(), f"{text(node)} -> pass")
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        yield becomes(place, node.left)
        other: ast.operator = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        yield becomes(place, ast.BinOp(left=node.left, op=other, right=node.right))


def wrong_time(place: Place) -> Iterator[Change]:
    """Milliseconds for microseconds, or no limit at all."""
    node = place.node
    if isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value >= 1000:
        yield becomes(place, constant(node.value // 1000))
        yield becomes(place, constant(node.value * 1000))
    elif isinstance(node, ast.keyword) and node.arg and node.arg.endswith("_us"):
        path = (*place.path, "value")
        shorter = arithmetic(node.value, ast.FloorDiv(), 1000)
        yield Change(f"{node.arg} in ms", ((path, shorter),))
        yield Change(f"{node.arg} 1000 times", ((path, arithmetic(node.value, ast.Mult(), 1000)),))
        if node.arg.startswith(_LIMITS):
            yield Change(f"{node.arg} has no end", ((path, constant(_FAR_US)),))
    elif isinstance(node, ast.Call) and text(node.func) in _ANY_ORDER and len(node.args) > 1:
        for part in node.args:
            yield becomes(place, part)


def swapped(place: Place) -> Iterator[Change]:
    """Two arguments in each other's place."""
    node = place.node
    if isinstance(node, ast.Call) and text(node.func) not in _ANY_ORDER and not _is_raised(place):
        for at in range(len(node.args) - 1):
            left, right = node.args[at], node.args[at + 1]
            if _is_other_kind(place, left, right):
                continue
            path = (*place.path, "args")
            what = f"{text(node.func)}: {text(left)} <-> {text(right)}"
            yield Change(what, (((*path, at), right), ((*path, at + 1), left)))


def lost_member(place: Place) -> Iterator[Change]:
    """An element of a display, or an argument that has a default, is forgotten."""
    node = place.node
    if isinstance(node, ast.Tuple | ast.List | ast.Set) and place.role != "slice":
        if isinstance(getattr(node, "ctx", ast.Load()), ast.Load) and len(node.elts) > 0:
            for number, element in enumerate(node.elts):
                left = [each for at, each in enumerate(node.elts) if at != number]
                after: ast.expr = ast.Tuple(elts=left, ctx=ast.Load())
                yield becomes(place, after, f"without {text(element)} in {text(node)}")
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        facts = class_table().get(node.func.id)
        for number, keyword in enumerate(node.keywords):
            if facts is None or keyword.arg not in facts.optional or keyword.arg in _NOT_OURS:
                continue
            left_of = [each for at, each in enumerate(node.keywords) if at != number]
            after = ast.Call(func=node.func, args=node.args, keywords=left_of)
            yield becomes(place, after, f"{node.func.id} without {keyword.arg}")


def _loaded_name(node: ast.AST) -> str:
    """The name of a variable or field that is read; "" of anything else."""
    if not isinstance(node, ast.Attribute | ast.Name) or not isinstance(node.ctx, ast.Load):
        return ""
    return node.attr if isinstance(node, ast.Attribute) else node.id


def _attribute(node: ast.Attribute, name: str) -> ast.Attribute:
    return ast.Attribute(value=node.value, attr=name, ctx=ast.Load())


def _called(place: Place, value: int, step: int) -> str:
    """A number with the name that it has at this place."""
    parent = place.parent
    if isinstance(parent, ast.keyword):
        return f"{parent.arg}={value} -> {value + step}"
    return f"{value} -> {value + step} in {text(parent)}"


def _is_other_kind(place: Place, left: ast.expr, right: ast.expr) -> bool:
    """Whether a type checker would see it, as far as can be told; or both are the same."""
    if ast.dump(left) == ast.dump(right) or ast.Starred in (type(left), type(right)):
        return True
    if type(left) is not type(right) and ast.Constant in (type(left), type(right)):
        return True
    known = [each for each in (place.class_of(left), place.class_of(right)) if each is not None]
    return isinstance(left, ast.Lambda) or (len(known) == 2 and known[0] != known[1])


def _is_fixed(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant)


def _is_raised(place: Place) -> bool:
    return any(isinstance(each, ast.Raise) for each in place.parents[:2])


SLIPS = {
    "wrong-state": wrong_state,
    "wrong-event": wrong_event,
    "wrong-key": wrong_key,
    "wrong-field": wrong_field,
    "wrong-amount": wrong_amount,
    "wrong-currency": wrong_currency,
    "off-by-one": off_by_one,
    "lost-count": lost_count,
    "wrong-time": wrong_time,
    "swapped": swapped,
    "lost-member": lost_member,
}
