"""Claims about determinism of the loop: over hash seeds, heap layouts and Python versions."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.pythons import VERSIONS, lab_python

ROOT = Path(__file__).resolve().parents[2]

WORLD = """
import asyncio, hashlib, random, sys
from lab.runtime.chance import KeyedChance
from lab.runtime.processes import AsyncTasks, SimProcess
from lab.runtime.virtual_loop import Scheduler, sleep_us, suspend
from tests.kit.process_ends import crash_here

order, noise = sys.argv[1], int(sys.argv[2])
if noise:
    import decimal, email.message, http.client, xml.dom.minidom
    draw = random.Random(noise)
    kept = [bytearray(draw.randrange(1, 500)) for _ in range(draw.randrange(1, 5000))]
    kept += [[] for _ in range(draw.randrange(3000))]
    del kept[::2]

chance = KeyedChance(7)
scheduler = Scheduler(seed=7, order=order)
trace = []

def note(*what):
    trace.append((scheduler.now_us, *what))

async def worker(loop, queue, number):
    while True:
        job = await queue.get()
        await suspend()
        note(loop.name, "took", number, job)
        await sleep_us(chance.integer(0, 2000, loop.name, number, job))
        if chance.u("crash", loop.name, number, job) < 0.01:
            note(loop.name, "crashes", number, job)
            await crash_here()
        note(loop.name, "did", number, job)

async def victim(number):
    try:
        await sleep_us(10_000_000)
    except asyncio.CancelledError:
        note("cancelled", number)
        raise

async def aborts(loop):
    async def bad():
        await sleep_us(1000)
        raise ValueError
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(victim(number))
            group.create_task(bad())
    except* ValueError:
        note("group aborted")
    done, _ = await asyncio.wait([loop.create_task(sleep_us(5)) for _ in range(20)])
    note("done", *[task.number for task in done])

async def races(loop):
    async def answer(number):
        await sleep_us(chance.integer(1, 3, "answer", number))
        note("answer", number)
        return number
    for _ in range(20):
        got = await AsyncTasks().together(
            [lambda n=n: answer(n) for n in range(8)], until=lambda n: n % 3 == 1)
        note("together", *[-1 if n is None else n for n in got])

async def program(loop):
    queue = asyncio.Queue(4)
    for number in range(5):
        loop.spawn(worker(loop, queue, number))
    loop.spawn(races(loop))
    loop.spawn(aborts(loop))
    for job in range(300):
        await queue.put(job)

async def main():
    processes = [SimProcess(scheduler, f"p{n}", program) for n in range(4)]
    for _ in range(10):
        for process in processes:
            process.start()
        await sleep_us(20_000)
        paused = processes[0].loop
        if paused is not None:
            paused.pause()
            await sleep_us(777)
            paused.resume()

with scheduler:
    scheduler.run(main())
assert not scheduler.errors, scheduler.errors
assert len(trace) > 3000, len(trace)
assert any("crashes" in what for what in trace)
print(len(trace), scheduler.now_us, hashlib.sha256(repr(trace).encode()).hexdigest())
"""


def run_world(python: str, order: str, *, hash_seed: int, noise: int) -> str:
    """What a fresh interpreter prints after a run of `WORLD`."""
    settings = [f"PYTHONHASHSEED={hash_seed}", f"PYTHONPATH={ROOT}"]
    ended = subprocess.run(
        ["env", *settings, python, "-c", WORLD, order, str(noise)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("order", ["fifo", "shuffle"])
def test_a_run_depends_on_no_hash_seed_and_no_heap_layout(order: str) -> None:
    traces = {
        run_world(sys.executable, order, hash_seed=seed, noise=noise)
        for seed, noise in [(0, 0), (1, 0), (0, 1), (0, 2), (2, 3), (3, 4)]
    }
    assert len(traces) == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("order", ["fifo", "shuffle"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_run_is_the_same_on_every_python(version: str, order: str) -> None:
    here = run_world(sys.executable, order, hash_seed=5, noise=0)
    assert run_world(lab_python(version), order, hash_seed=6, noise=5) == here


@pytest.mark.slow
def test_the_orders_differ() -> None:
    fifo, shuffled = (
        run_world(sys.executable, order, hash_seed=0, noise=0) for order in ("fifo", "shuffle")
    )
    assert fifo != shuffled
