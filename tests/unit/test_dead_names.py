"""No name of the package is there for the tests alone.

A name counts as used wherever it is written, so one that something else has too may pass.
Not here: names that begin with an underscore.

Source: vulture, which finds names that nothing uses.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from vulture import Vulture

from lab.cli.chaos import FAULT_FLAGS

TOP: Final = Path(__file__).resolve().parents[2]

ASYNCIO: Final = "asyncio calls it"
LIBRARY: Final = "the library reads it"

USED_ELSEWHERE: Final[Mapping[str, str]] = {
    "lab/bus/kafka/member.py:on_partitions_assigned": "aiokafka calls it",
    "lab/bus/kafka/member.py:on_partitions_revoked": "aiokafka calls it",
    "lab/bus/loop/delivery.py:uncommitted_max": "the contract of every bus is tested by it",
    "lab/cli/render.py:raised": "an argument that every `__exit__` is given",
    "lab/observe/ecs.py:unraisablehook": "Python calls it",
    "lab/providers/http_front.py:redirect_slashes": LIBRARY,
    "lab/runtime/http_protocol.py:disconnected": LIBRARY,
    "lab/runtime/http_protocol.py:keep_alive": LIBRARY,
    "lab/runtime/http_protocol.py:send_400_response": "uvicorn calls it",
    "lab/runtime/http_server.py:capture_signals": "uvicorn calls it",
    "lab/runtime/http_server.py:force_exit": LIBRARY,
    "lab/runtime/http_server.py:should_exit": LIBRARY,
    "lab/runtime/process_loop.py:get_debug": ASYNCIO,
    "lab/runtime/process_loop.py:get_exception_handler": ASYNCIO,
    "lab/runtime/process_loop.py:get_task_factory": ASYNCIO,
    "lab/runtime/process_loop.py:set_debug": ASYNCIO,
    "lab/runtime/process_loop.py:shutdown_asyncgens": ASYNCIO,
    "lab/runtime/process_loop.py:shutdown_default_executor": ASYNCIO,
    "lab/runtime/virtual_task.py:set_name": ASYNCIO,
    "lab/stores/redis/dedupe.py:connection_kwargs": LIBRARY,
}

FLAGS: Final = "lab/cli/chaos.py:"
"""Each flag is a field that a row of `FAULT_FLAGS` reads by its name."""

REFUSED_BY_NAME: Final = "lab/runtime/real_io.py"
"""What asyncio's loops have and a simulated one refuses: each name says what was touched."""


def names_that_nothing_uses(folder: Path) -> set[str]:
    """`file:name` of every public name below `folder` that no file there uses."""
    finder = Vulture()
    finder.scavenge([folder])
    return {
        f"{found.filename.relative_to(folder.parent).as_posix()}:{found.name}"
        for found in finder.get_unused_code()
        if not found.name.startswith("_")
    }


@pytest.fixture(scope="module")
def unused() -> set[str]:
    return names_that_nothing_uses(TOP / "lab")


@pytest.mark.slow
def test_no_name_is_there_for_the_tests_alone(unused: set[str]) -> None:
    refused = {name for name in unused if name.startswith(f"{REFUSED_BY_NAME}:")}
    flags = {f"{FLAGS}{flag.field}" for flag in FAULT_FLAGS}
    assert unused - refused - flags - set(USED_ELSEWHERE) == set()
    assert len(refused) > 20


@pytest.mark.slow
def test_no_exception_has_outlived_its_name(unused: set[str]) -> None:
    assert set(USED_ELSEWHERE) - unused == set()


def test_a_name_that_only_a_test_uses_is_found(tmp_path: Path) -> None:
    house = tmp_path / "house"
    house.mkdir()
    (house / "used.py").write_text(
        '"""."""\n\nLIMIT = 1\n\n\nclass Cat:\n    def purr(self):\n        return LIMIT\n\n'
        "    def sleep(self):\n        return self._dream()\n\n    def _dream(self):\n        ...\n"
    )
    (house / "main.py").write_text(
        '"""."""\n\nfrom house.used import Cat\n\nOLD = 2\n\n\ndef main():\n    Cat().purr()\n\n\n'
        'if __name__ == "__main__":\n    main()\n'
    )
    (tmp_path / "test_house.py").write_text(
        "from house.main import OLD\nfrom house.used import Cat\n\n\n"
        "def test_sleep():\n    assert Cat().sleep() != OLD\n"
    )

    assert names_that_nothing_uses(house) == {"house/main.py:OLD", "house/used.py:sleep"}
