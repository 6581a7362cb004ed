"""A block collects the cycles that it made, and no others."""

import gc
import weakref

from lab.runtime.garbage import own_garbage


class Knot:
    """An object that refers to itself: nobody but the collector finds that it is dropped."""

    def __init__(self) -> None:
        self.itself = self


def test_cycles_of_a_block_are_gone_when_it_ends() -> None:
    with own_garbage():
        dropped = weakref.ref(Knot())
        assert dropped() is not None, "nothing is collected in the middle"

    assert dropped() is None


def test_what_a_block_handed_out_is_collected_by_the_next_one_if_it_was_dropped() -> None:
    with own_garbage():
        handed = Knot()
    seen = weakref.ref(handed)
    with own_garbage():
        assert seen() is handed
    del handed
    with own_garbage():
        handed = Knot()
    seen = weakref.ref(handed)
    del handed

    with own_garbage():
        assert seen() is None


def test_within_a_block_nothing_is_collected_by_itself_and_behind_it_as_before() -> None:
    gc.disable()
    try:
        with own_garbage():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
    with own_garbage():
        assert not gc.isenabled()
    assert gc.isenabled()
