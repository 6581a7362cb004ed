"""Each slip of the hunt makes the change that it says, and nothing where there is nothing to do.

Not here: whether a run notices a mutant (`sim/test_hunt.py`).
"""

import ast

import pytest

from tests.hunt.mutants import SLIPS, changed, mutants_of
from tests.hunt.targets import GROUPS, LAB, files_of


def made(slip: str, source: str) -> dict[str, str]:
    """What a slip says of a source, and the source that it makes."""
    return {
        one.key.partition(f" {slip} ")[2]: ast.unparse(changed(source, one.change))
        for one in mutants_of("file.py", source)
        if one.slip == slip
    }


@pytest.mark.parametrize(
    ("slip", "source", "what", "after"),
    [
        (
            "wrong-state",
            "x = OrderState.VALIDATED",
            "VALIDATED -> REJECTED",
            "x = OrderState.REJECTED",
        ),
        (
            "wrong-state",
            "x = OrderState.VALIDATED",
            "VALIDATED -> PENDING",
            "x = OrderState.PENDING",
        ),
        (
            "wrong-event",
            "x = OrderCancelled(order_id=i)",
            "OrderCancelled -> OrderExpired",
            "x = OrderExpired(order_id=i)",
        ),
        (
            "wrong-event",
            "x = {'OrderCreated': 'received', 'OrderExpired': 'expired'}",
            "'received' -> 'expired'",
            "x = {'OrderCreated': 'expired', 'OrderExpired': 'expired'}",
        ),
        ("wrong-key", "f(key=a.key)", "key is always the same", "f(key='same')"),
        ("wrong-key", "f(key=a.key)", "key is new each time", "f(key=hunt_fresh(a.key))"),
        (
            "wrong-field",
            "x = order.created_us",
            "order.created_us -> order.expires_us",
            "x = order.expires_us",
        ),
        (
            "wrong-amount",
            "x = a.amount_cents",
            "a.amount_cents -> a.amount_cents // 2",
            "x = a.amount_cents // 2",
        ),
        ("wrong-amount", "x = quantity * price", "quantity * price -> price", "x = price"),
        ("wrong-currency", "f(order.currency)", "order.currency -> 'JPY'", "f('JPY')"),
        ("off-by-one", "x = a <= b", "a <= b -> a < b", "x = a < b"),
        ("off-by-one", "f(d.attempt)", "d.attempt -> d.attempt - 1", "f(d.attempt - 1)"),
        ("off-by-one", "x = tiers[0]", "0 -> 1 in tiers[0]", "x = tiers[1]"),
        ("lost-count", "n += 1", "n += 1 -> pass", "pass"),
        ("lost-count", "x = attempts + 1", "attempts + 1 -> attempts", "x = attempts"),
        ("wrong-time", "f(deadline_us=a)", "deadline_us in ms", "f(deadline_us=a // 1000)"),
        ("wrong-time", "f(deadline_us=a)", "deadline_us has no end", f"f(deadline_us={1 << 60})"),
        ("wrong-time", "x = min(a, b)", "min(a, b) -> b", "x = b"),
        ("swapped", "f(a, b)", "f: a <-> b", "f(b, a)"),
        ("lost-member", "x = (A, B)", "without A in (A, B)", "x = (B,)"),
        ("lost-member", "x = Unit(events=e)", "Unit without events", "x = Unit()"),
        ("condition", "if a:\n    f()", "never: a", "if False:\n    f()"),
        ("condition", "if not a:\n    f()", "not: not a", "if a:\n    f()"),
        ("condition", "x = [a for a in b if a]", "always: a", "x = [a for a in b if True]"),
        ("part-dropped", "x = a and b", "without b", "x = a"),
        ("swallowed-error", "raise Lost(x)", "raise Lost(x) -> pass", "pass"),
        (
            "swallowed-error",
            "def f():\n    raise Lost",
            "raise Lost -> return",
            "def f():\n    return",
        ),
        (
            "swallowed-error",
            "try:\n    f()\nexcept Lost:\n    g()",
            "except Lost: pass",
            "try:\n    f()\nexcept Lost:\n    pass",
        ),
        (
            "swallowed-error",
            "try:\n    f()\nfinally:\n    g()",
            "without finally: g()",
            "if True:\n    f()",
        ),
        (
            "case-dropped",
            "match a:\n    case B():\n        f()\n    case _:\n        g()",
            "without case B()",
            "match a:\n    case _:\n        g()",
        ),
        (
            "omitted",
            "async def f():\n    await s.unclaim(k)",
            "await s.unclaim(k) -> pass",
            "async def f():\n    pass",
        ),
        ("omitted", "def f():\n    del a[b]", "del a[b] -> pass", "def f():\n    pass"),
        (
            "first-only",
            "for a in b:\n    f(a)",
            "only the first of b",
            "for a in hunt_first(b):\n    f(a)",
        ),
        (
            "too-early",
            "async def f():\n    await effect()\n    await settle()",
            "await settle() before await effect()",
            "async def f():\n    await settle()\n    await effect()",
        ),
        ("flipped", "f(counts=False)", "counts=False flipped", "f(counts=True)"),
    ],
)
def test_a_slip_makes_the_change_that_it_says(
    slip: str, source: str, what: str, after: str
) -> None:
    assert made(slip, source)[what] == after


def test_every_slip_is_tried_here() -> None:
    tried = {
        mark.args[1][number][0]
        for mark in getattr(test_a_slip_makes_the_change_that_it_says, "pytestmark", [])
        for number in range(len(mark.args[1]))
    }

    assert tried == set(SLIPS)


@pytest.mark.parametrize(
    "source",
    [
        "assert a and b",
        "import a",
        "@dataclass(frozen=True)\nclass A:\n    x: int",
        "def f() -> None:\n    self._acted(delivery, 'held')",
        "if self._write is not None:\n    self._write(a, b)",
        "class A:\n    __slots__ = ('a', 'b')",
    ],
)
def test_what_is_no_part_of_the_system_is_left_alone(source: str) -> None:
    assert list(mutants_of("file.py", source)) == []


def test_a_field_of_another_type_is_no_slip() -> None:
    found = made("wrong-field", "x = order.currency")

    assert "order.currency -> order.version" not in found
    assert "order.currency -> order.customer_id" in found


def test_two_steps_of_which_the_second_needs_the_first_keep_their_order() -> None:
    source = "async def f():\n    a = await load()\n    await settle(a)"

    assert made("too-early", source) == {}


def test_the_same_change_twice_in_a_function_has_two_keys() -> None:
    keys = [
        one.key for one in mutants_of("file.py", "def f():\n    x = g(a=True)\n    y = h(a=True)")
    ]

    assert keys == ["file.py f flipped a=True flipped", "file.py f flipped a=True flipped #2"]


def test_a_key_outlives_a_line_that_is_added_above_and_a_name_does_not() -> None:
    (before,) = mutants_of("file.py", "def f():\n    return True")
    (after,) = mutants_of("file.py", "\n\ndef f():\n    return True")

    assert before.key == after.key
    assert (before.name, after.name) == (
        "file.py:2 flipped True flipped",
        "file.py:4 flipped True flipped",
    )


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_the_list_is_the_same_again_its_keys_are_unique_and_the_sources_compile(
    group: str,
) -> None:
    for path in files_of(GROUPS[group]):
        source = path.read_text(encoding="utf-8")
        file = path.relative_to(LAB).as_posix()
        mutants = list(mutants_of(file, source))
        keys = [one.key for one in mutants]
        assert keys == [one.key for one in mutants_of(file, source)]
        assert len(set(keys)) == len(keys)
        for one in {one.slip: one for one in mutants}.values():
            compile(one.tree(), file, "exec")
            assert ast.dump(one.tree()) != ast.dump(ast.parse(source)), one.key
