"""Slips on the course of things: conditions, errors, calls left out, loops, the order of steps."""

import ast
from collections.abc import Iterator

from tests.hunt.changes import FIRST, Change, becomes, calling, constant, text
from tests.hunt.places import Place, is_pen


def condition(place: Place) -> Iterator[Change]:
    """Negated, always true, always false."""
    node = place.node
    if not isinstance(node, ast.expr) or place.role not in ("test", "ifs", "guard"):
        return
    if isinstance(node, ast.Constant):
        return
    yield becomes(place, _negated(node), f"not: {text(node)}")
    if not isinstance(place.parent, ast.While):
        yield becomes(place, constant(value=True), f"always: {text(node)}")
    yield becomes(place, constant(value=False), f"never: {text(node)}")


def part_dropped(place: Place) -> Iterator[Change]:
    """One part of `and` and `or` is left out: a version that is not compared."""
    node = place.node
    if isinstance(node, ast.BoolOp):
        for number, part in enumerate(node.values):
            left = [each for at, each in enumerate(node.values) if at != number]
            after = left[0] if len(left) == 1 else ast.BoolOp(op=node.op, values=left)
            yield becomes(place, after, f"without {text(part)}")


def swallowed(place: Place) -> Iterator[Change]:
    """An error is not raised, or a handler of it does nothing, or what it answers is gone."""
    node = place.node
    if isinstance(node, ast.Raise):
        what = text(node)
        yield becomes(place, ast.Pass(), f"{what} -> pass")
        if place.scope.in_function:
            yield becomes(place, ast.Return(value=None), f"{what} -> return")
    elif isinstance(node, ast.ExceptHandler) and not isinstance(node.body[0], ast.Raise | ast.Pass):
        after = ast.ExceptHandler(type=node.type, name=node.name, body=[ast.Pass()])
        yield becomes(place, after, f"{_head(node)}: pass")
    elif isinstance(node, ast.Try) and len(node.handlers) > 1:
        for number, handler in enumerate(node.handlers):
            left = [each for at, each in enumerate(node.handlers) if at != number]
            after_try = ast.Try(
                body=node.body, handlers=left, orelse=node.orelse, finalbody=node.finalbody
            )
            yield becomes(place, after_try, f"without {_head(handler)}")
    elif isinstance(node, ast.Try) and node.finalbody:
        plain = ast.If(test=constant(value=True), body=[*node.body], orelse=[])
        yield becomes(place, plain, f"without finally: {text(node.finalbody[0])}")


def case_dropped(place: Place) -> Iterator[Change]:
    """A case of a `match` is missing: its error or state falls to the next that fits."""
    node = place.node
    if isinstance(node, ast.Match) and len(node.cases) > 1:
        for number, case in enumerate(node.cases):
            left = [each for at, each in enumerate(node.cases) if at != number]
            after = ast.Match(subject=node.subject, cases=left)
            yield becomes(place, after, f"without case {ast.unparse(case.pattern)}")


def omitted(place: Place) -> Iterator[Change]:
    """A call that stands by itself is left out: unclaim, complete, close, mark, notify."""
    node = place.node
    if isinstance(node, ast.Expr) and _called(node.value) is not None:
        yield becomes(place, ast.Pass(), f"{text(node)} -> pass")
    elif isinstance(node, ast.Delete | ast.Assign) and place.scope.in_function:
        # Whatever `__init__` leaves out is an AttributeError, not a bug that lives on.
        is_kept = not place.scope.name.endswith("__init__")
        if is_kept and isinstance(node.targets[0], ast.Attribute | ast.Subscript):
            yield becomes(place, ast.Pass(), f"{text(node)} -> pass")


def first_only(place: Place) -> Iterator[Change]:
    """A loop handles the first element and no other, or ends where it should go on."""
    node = place.node
    if isinstance(node, ast.For | ast.comprehension):
        path = (*place.path, "iter")
        yield Change(f"only the first of {text(node.iter)}", ((path, calling(FIRST, node.iter)),))
    elif isinstance(node, ast.Continue):
        yield becomes(place, ast.Break())


def too_early(place: Place) -> Iterator[Change]:
    """Two steps that others can see change places: an ack before its effect."""
    node, parent = place.node, place.parent
    step = place.path[-1]
    if not isinstance(node, ast.stmt) or not isinstance(step, int):
        return
    body = getattr(parent, place.role)
    if step + 1 >= len(body):
        return
    following = body[step + 1]
    if not (_waits(node) and _waits(following)) or _names(node, ast.Store) & _names(following):
        return
    yield Change(
        f"{text(following)} before {text(node)}",
        ((place.path, following), ((*place.path[:-1], step + 1), node)),
    )


def answer_flipped(place: Place) -> Iterator[Change]:
    """True for False and False for True, where no condition is."""
    node = place.node
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield becomes(place, constant(not node.value), _with_name(place, str(node.value)))
    elif isinstance(node, ast.Compare) and isinstance(place.parent, ast.Return):
        yield becomes(place, _negated(node), f"not: {text(node)}")


def _with_name(place: Place, value: str) -> str:
    parent = place.parent
    return (
        f"{parent.arg}={value} flipped" if isinstance(parent, ast.keyword) else f"{value} flipped"
    )


def _negated(node: ast.expr) -> ast.expr:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return node.operand
    return ast.UnaryOp(op=ast.Not(), operand=node)


def _head(handler: ast.ExceptHandler) -> str:
    return "except" if handler.type is None else f"except {ast.unparse(handler.type)}"


def _called(node: ast.expr) -> ast.Call | None:
    if isinstance(node, ast.Await):
        node = node.value
    return node if isinstance(node, ast.Call) and not is_pen(node) else None


def _waits(node: ast.AST) -> bool:
    """A plain step, with a wait in it."""
    return isinstance(node, ast.Expr | ast.Assign) and any(
        isinstance(each, ast.Await) for each in ast.walk(node)
    )


def _names(node: ast.AST, kind: type[ast.expr_context] = ast.Load) -> set[str]:
    return {
        each.id
        for each in ast.walk(node)
        if isinstance(each, ast.Name) and isinstance(each.ctx, kind)
    }


SLIPS = {
    "condition": condition,
    "part-dropped": part_dropped,
    "swallowed-error": swallowed,
    "case-dropped": case_dropped,
    "omitted": omitted,
    "first-only": first_only,
    "too-early": too_early,
    "flipped": answer_flipped,
}
