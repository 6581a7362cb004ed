"""Group commit without a server: who shares a call, who waits, and what everybody hears."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from lab.domain.errors import Down, Indeterminate, LabError, Transient
from lab.stores.group_commit import Batcher


class Server:
    """Answers with the double; a call takes as long as it is held."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.held: asyncio.Event = asyncio.Event()
        self.held.set()
        self.trouble: dict[int, BaseException] = {}

    async def ask(self, numbers: Sequence[int]) -> list[int | LabError]:
        self.calls.append(list(numbers))
        call = len(self.calls)
        await self.held.wait()
        if call in self.trouble:
            raise self.trouble[call]
        return [number * 2 for number in numbers]


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_what_arrives_while_a_call_runs_goes_together_into_the_next_one() -> None:
    async def main() -> None:
        server = Server()
        batcher: Batcher[int, int] = Batcher(server.ask, size=10)
        server.held.clear()
        answers = [batcher.put(1)]
        await settle()
        answers += [batcher.put(number) for number in (2, 3, 4)]
        await settle()
        assert server.calls == [[1]]
        server.held.set()
        assert await asyncio.gather(*answers) == [2, 4, 6, 8]
        assert server.calls == [[1], [2, 3, 4]]

    run(main())


def test_a_lone_question_is_asked_at_once_and_again_and_again() -> None:
    async def main() -> None:
        server = Server()
        batcher: Batcher[int, int] = Batcher(server.ask, size=10)
        assert [await batcher.put(number) for number in (1, 2, 3)] == [2, 4, 6]
        assert server.calls == [[1], [2], [3]]

    run(main())


def test_a_call_has_a_bound_and_rivals_never_share_one() -> None:
    async def main() -> None:
        server = Server()
        batcher: Batcher[int, int] = Batcher(
            server.ask, size=3, rivals=lambda number: (number % 10,)
        )
        answers = [batcher.put(number) for number in (1, 2, 11, 21, 3, 4)]
        await asyncio.gather(*answers)
        assert server.calls == [[1, 2, 3], [11, 4], [21]]

    run(main())


def test_lanes_ask_at_the_same_time_up_to_their_number() -> None:
    async def main() -> None:
        server = Server()
        batcher: Batcher[int, int] = Batcher(server.ask, size=10, lanes=2)
        server.held.clear()
        answers = []
        for number in (1, 2, 3, 4):
            answers.append(batcher.put(number))
            await settle()
        assert server.calls == [[1], [2]]
        server.held.set()
        await asyncio.gather(*answers)
        assert server.calls == [[1], [2], [3, 4]]

    run(main())


def test_an_error_is_everybodys_in_its_call_and_the_next_call_is_made() -> None:
    async def main() -> None:
        server = Server()
        server.trouble[1] = Indeterminate("lost")
        batcher: Batcher[int, int] = Batcher(server.ask, size=2)
        answers = [batcher.put(number) for number in (1, 2, 3)]
        said = await asyncio.gather(*answers, return_exceptions=True)
        assert [type(each) for each in said] == [Indeterminate, Indeterminate, int]
        assert said[0] is not said[1], "each caller raises one of its own"

    run(main())


def test_a_server_that_is_down_refuses_everybody_who_waits() -> None:
    async def main() -> None:
        server = Server()
        server.trouble[1] = Down("gone", dependency="server", after_us=7)
        batcher: Batcher[int, int] = Batcher(server.ask, size=1)
        answers = [batcher.put(number) for number in (1, 2, 3)]
        said = await asyncio.gather(*answers, return_exceptions=True)
        assert server.calls == [[1]]
        for each in said:
            assert isinstance(each, Down)
            assert (str(each), each.dependency, each.after_us) == ("gone", "server", 7)
        assert await batcher.put(4) == 8

    run(main())


def test_each_question_may_have_an_error_of_its_own() -> None:
    async def main() -> None:
        async def ask(numbers: Sequence[int]) -> list[int | LabError]:
            return [Transient("odd") if number % 2 else number for number in numbers]

        batcher: Batcher[int, int] = Batcher(ask, size=10)
        said = await asyncio.gather(batcher.put(1), batcher.put(2), return_exceptions=True)
        assert [type(each) for each in said] == [Transient, int]

    run(main())


def test_a_bug_reaches_its_callers_and_nobody_waits_for_ever() -> None:
    async def main() -> None:
        server = Server()
        server.trouble[1] = ZeroDivisionError("oops")
        batcher: Batcher[int, int] = Batcher(server.ask, size=10)
        with pytest.raises(ZeroDivisionError, match="oops"):
            await batcher.put(1)
        assert await batcher.put(2) == 4

    run(main())


def test_who_is_cancelled_in_time_is_not_asked_for() -> None:
    async def main() -> None:
        server = Server()
        batcher: Batcher[int, int] = Batcher(server.ask, size=1)
        server.held.clear()
        first, second, third = (batcher.put(number) for number in (1, 2, 3))
        await settle()
        second.cancel()
        first.cancel()
        server.held.set()
        assert await third == 6
        assert server.calls == [[1], [3]]

    run(main())


def test_close_lets_the_call_in_hand_end_and_refuses_the_rest() -> None:
    async def main() -> None:
        server = Server()
        batcher: Batcher[int, int] = Batcher(server.ask, size=1)
        server.held.clear()
        first, second = batcher.put(1), batcher.put(2)
        await settle()
        closing = asyncio.ensure_future(batcher.close(Transient("closed")))
        await settle()
        server.held.set()
        await closing
        assert await first == 2
        for late in (second, batcher.put(3)):
            with pytest.raises(Transient, match="closed"):
                await late

    run(main())
