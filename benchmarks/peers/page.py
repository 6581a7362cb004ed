"""The page `docs/beside-peers.md`, made of the results of a run.

Not here: measuring, and the words of each peer (`catalogue.py`, `loop_peers.py`).
"""

from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import Final

from benchmarks.peers import kafka_rounds as kafka
from benchmarks.peers.catalogue import LAB, PEERS, Peer
from benchmarks.peers.figures import Spread, ratio
from benchmarks.peers.judge import Stop
from benchmarks.peers.loop_peers import LOOPS, Loop
from benchmarks.peers.loop_programs import PROGRAMS, TRACES
from benchmarks.peers.loop_rounds import EVENTS, RUNS
from benchmarks.peers.results import Results
from benchmarks.peers.workload import VALUE_BYTES

LIKE_OURS: Final = {
    "simloop": "lab shuffled",
    "detangle fifo": "lab fifo",
    "detangle seeded": "lab shuffled",
    "looptime": "lab fifo",
}
"""The lab's loop that orders ready tasks as the other one does."""

NOTHING: Final = "-"
_WIDTH: Final = 100


def render(results: Results) -> str:
    """The whole page, or of a part of the comparison what there is."""
    parts = [_head(results)]
    if results.kafka:
        parts += [_rates_head(), "\n".join(_rate_table(results))]
        parts += [_ends_head(), "\n".join(_end_table(results)), _READING]
        parts += [_promises_head(), "\n".join(_promises())]
    if results.loops:
        parts += [_loops_head(), "\n".join(_loop_table(results))]
        parts += ["\n".join(_loop_ratios(results)), _LOOPS_READING, "\n".join(_loop_calls())]
    versions = "\n".join(f"| {name} | {one} |" for name, one in sorted(results.versions.items()))
    parts += ["## Versions", f"| distribution | version |\n|---|---|\n{versions}"]
    blocks = "\n\n".join(part.strip("\n") for part in parts).split("\n\n")
    return "\n\n".join(map(_wrapped, filter(None, blocks))) + "\n"


def _wrapped(block: str) -> str:
    """A paragraph or a list with full lines; anything else as it is."""
    if block[0] in "|#<":
        return block
    items = block.split("\n- ") if block[0] == "-" else [block]
    indent = "  " if block[0] == "-" else ""
    texts = [" ".join(item.removeprefix("- ").split()) for item in items]
    return "\n".join(
        fill(
            text,
            _WIDTH,
            initial_indent="- " if indent else "",
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for text in texts
    )


def _head(results: Results) -> str:
    machine, load = results.machine, results.machine.load_before
    busy = load is not None and load > machine.cores / 2
    return f"""
# Beside others

<!-- Made by `python -m benchmarks.peers`; changes here are lost. -->

The lab's consumer and its virtual time beside libraries that do the same, in one run.
`benchmarks/peers/README.md` tells how to repeat it, and what makes it fair.

{results.date}, {machine.python.split(",")[0]}, {machine.cores} cores ({machine.processor}),
load before it {"not told" if load is None else f"{load:.1f}"}, {results.broker},
{max(len(results.kafka), len(results.loops))} rounds. A figure is the median of the rounds, with
the lowest and the highest in brackets. It belongs to that machine, and compares only within its
table.
{_BUSY if busy else ""}"""


_BUSY: Final = """
**The machine was busy with other work**: rates are low and spreads wide. Ratios are taken round by
round.
"""


# ---- consumers


def _rates_head() -> str:
    load, rate = kafka.loads(0)[kafka.RATE], kafka.RATE
    return f"""
## Consumers on Kafka

Records of {VALUE_BYTES} bytes under {kafka.KEYS} keys in {kafka.PARTITIONS} partitions. The handler
awaits {load.handler_us / 1000:g} ms and appends a line to a file.

*Records/s*: in the first {kafka.WINDOW_S:g} s of work on a full topic, with
{kafka.CONCURRENCY[rate]} handlers at once where the setting is concurrent. *Out of order*: the
share of these records that began before the one before them under their key had ended.
*Processor*: time that all processes of the consumer used; it depends least on who else is on the
machine. Ratios above 1 are in favour of the lab; where rounds disagree about it, the table says *no
difference*, with the lowest and the highest ratio.
"""


def _ends_head() -> str:
    stops = kafka.loads(0)[kafka.STOPS]
    return f"""
### Ended in the middle

{stops.records:,} records; a third of the keys has one in the middle that takes
{stops.slow_us / 1000:g} ms; {kafka.CONCURRENCY[kafka.STOPS]} handlers at once.
{kafka.INTO_SLOW_S * 1000:g} ms after the first of those began the process gets SIGKILL, or
SIGTERM, and is started again under the same group. *Lost*: never handled. *Again*: handled once
more. There is one number for each round where they differ. What has not ended by itself
{kafka.TERM_S} s after SIGTERM is killed.
"""


def _rate_table(results: Results) -> Iterator[str]:
    yield (
        "| consumer | records/s | the lab's by that | out of order "
        "| processor us a record | that by the lab's |"
    )
    yield "|---|---|---|---|---|---|"
    for peer in PEERS:
        if peer.name in results.missing:
            yield f"| {peer.name} | not run: {results.missing[peer.name]} |" + " |" * 4
        elif peer.name in results.kafka[0]:
            yield _rate_row(results, peer)


def _end_table(results: Results) -> Iterator[str]:
    yield "| consumer | SIGKILL: lost | again | SIGTERM: lost | again | gone after |"
    yield "|---|---|---|---|---|---|"
    for peer in PEERS:
        if peer.name in results.kafka[0]:
            yield _end_row(results, peer)


_READING: Final = f"""
- Handlers wait, so the rate of a consumer that keeps order says how many keys it has at work at
  once, which depends on what it has in hand. What a record costs is in the column of processor
  time.
- What commits by the clock whatever it has handed out loses the handlers that an end interrupts.
  Clocks stand at {kafka.COMMIT_MS} ms here, not at the usual 5 s, because the slow handlers take
  tenths of a second: handlers of seconds under the usual clock are the same, slower.
- Loops over batches decide nothing for a single record, and so cost the least. Their price: a
  batch takes as long as its slowest key, a stop waits for it, an error in it concerns all of it,
  and a kill repeats it.
- The lab's row is its delivery loop alone. Dedupe, inbox, retries, dead letters and the guard
  against poison records are links around the handler. They need a store, and have no counterpart
  in these libraries. Repeats, which every consumer has that loses nothing, are what they are for.
- After a kill the lab repeats what stands behind a slow record in its partition, done or not: the
  position of a group is one number for a partition.
"""


def _promises_head() -> str:
    rate, stops = kafka.RATE, kafka.STOPS
    return f"""
### What each promises

N is {kafka.CONCURRENCY[rate]} for rates and {kafka.CONCURRENCY[stops]} for ends; B is
{kafka.BATCH[rate]} and {kafka.BATCH[stops]} records, of each partition where a poll takes several;
C is {kafka.COMMIT_MS} ms, P {kafka.PARTITIONS}. The session is {kafka.SESSION_MS:,} ms everywhere.
`by_key` is the loop of `benchmarks/peers/lanes.py`. A promise is what the documentation of the peer
says of these settings.
"""


def _promises() -> Iterator[str]:
    yield "| consumer | settings | promise |"
    yield "|---|---|---|"
    for peer in PEERS:
        yield f"| {peer.name} | {peer.settings} | [{peer.promise}]({peer.link}) |"


def _rate_row(results: Results, peer: Peer) -> str:
    mine = [one[peer.name].rate for one in results.kafka]
    ours = [one[LAB].rate for one in results.kafka if LAB in one]
    is_beside = peer.name != LAB and ours
    faster = [one.per_s for one in ours], [one.per_s for one in mine]
    cheaper = [one.cpu_us for one in mine], [one.cpu_us for one in ours]
    cells = [
        peer.name,
        _count(Spread.of([one.per_s for one in mine])),
        _beside(*faster) if is_beside else NOTHING,
        _percent(Spread.of([one.disorders / one.handled * 100 for one in mine])),
        _count(Spread.of([one.cpu_us for one in mine])),
        _beside(*cheaper) if is_beside else NOTHING,
    ]
    return f"| {' | '.join(cells)} |"


def _end_row(results: Results, peer: Peer) -> str:
    mine = [one[peer.name] for one in results.kafka]
    cells = [
        peer.name,
        *_stop_cells([one.killed for one in mine]),
        *_stop_cells([one.terminated for one in mine]),
        _gone([one.terminated for one in mine]),
    ]
    return f"| {' | '.join(cells)} |"


def _stop_cells(stops: Sequence[Stop]) -> list[str]:
    return [_each([one.lost for one in stops]), _each([one.again for one in stops])]


def _each(counts: Sequence[int]) -> str:
    """One number for each round; a single one if all are equal."""
    return ", ".join(f"{one:,}" for one in (counts if len(set(counts)) > 1 else counts[:1]))


def _gone(stops: Sequence[Stop]) -> str:
    spent = f"{Spread.of([one.exit_s for one in stops]).middle:.1f} s"
    killed = sum(not one.is_own for one in stops)
    return f"{spent}; killed in {killed} of {len(stops)} rounds" if killed else spent


# ---- loops


def _loops_head() -> str:
    return f"""
## Loops in virtual time

The same asyncio programs, {EVENTS:,} events each, in a process of their own: a thousand tasks that
sleep, one task that sleeps, two that hand a number to and fro over queues. Figures are thousand
events a second of *processor* time.

*Same seed*: how many different orders {RUNS} runs had, each with another `PYTHONHASHSEED` and
another heap; 1 means that a run repeats. *Plain*: tasks, sleeps and a queue. *With sets of tasks*:
what `asyncio.wait` returns, and whom a failing `TaskGroup` cancels first.
"""


def _loop_table(results: Results) -> Iterator[str]:
    yield f"| loop | {' | '.join(PROGRAMS)} | {' | '.join(f'same seed, {one}' for one in TRACES)} |"
    yield "|---|" + "---|" * (len(PROGRAMS) + len(TRACES))
    for loop in LOOPS:
        if loop.name in results.missing:
            blank = " |" * (len(PROGRAMS) + len(TRACES) - 1)
            yield f"| {loop.name} | not run: {results.missing[loop.name]} |{blank}"
        elif loop.name in results.loops[0]:
            yield _loop_row(results, loop)


def _loop_row(results: Results, loop: Loop) -> str:
    spreads = [
        Spread.of([one[loop.name][program] for one in results.loops]) for program in PROGRAMS
    ]
    orders = results.traces.get(loop.name, {})
    cells = [*map(_thousands, spreads), *(str(orders.get(one, NOTHING)) for one in TRACES)]
    return f"| {loop.name} | {' | '.join(cells)} |"


def _loop_ratios(results: Results) -> Iterator[str]:
    """The lab's loop of the same kind by each other one."""
    yield f"| the lab's by that of | {' | '.join(PROGRAMS)} |"
    yield "|---|" + "---|" * len(PROGRAMS)
    for loop in LOOPS:
        ours = LIKE_OURS.get(loop.name, "")
        if ours in results.loops[0] and loop.name in results.loops[0]:
            cells = [
                _beside(
                    [one[ours][program] for one in results.loops],
                    [one[loop.name][program] for one in results.loops],
                )
                for program in PROGRAMS
            ]
            yield f"| {loop.name} (by {ours}) | {' | '.join(cells)} |"


def _loop_calls() -> Iterator[str]:
    yield "| loop | call | order of tasks that are ready at once |"
    yield "|---|---|---|"
    for loop in LOOPS:
        yield f"| [{loop.name}]({loop.link}) | {loop.call} | {loop.order} |"


_LOOPS_READING: Final = """
- What a loop keeps beside (decisions, a trace) costs it time here. It shrinks and explains failures
  with it; the lab's history is written by its ports instead, and is no part of these figures.
- The lab's loop collects garbage at fixed counts of instants, the others when the interpreter
  likes. It does so at most once in these programs.
- detangle documents that the order of sets is the program's own affair. Neither simloop nor
  looptime speaks of it in its README.
"""


# ---- numbers


def _beside(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Our rate by theirs; where rounds disagree about who is faster, that."""
    found = ratio(ours, theirs)
    if not found.is_there_a_difference:
        return f"no difference ({found.low:.2g}-{found.high:.2g})"
    return f"{found.middle:.2g} ({found.low:.2g}-{found.high:.2g})"


def _count(found: Spread) -> str:
    return f"{found.middle:,.0f} ({found.low:,.0f}-{found.high:,.0f})"


def _percent(found: Spread) -> str:
    if not found.high:
        return "none"
    return f"{found.middle:.1f} % ({found.low:.1f}-{found.high:.1f})"


def _thousands(found: Spread) -> str:
    return f"{found.middle / 1e3:,.0f} ({found.low / 1e3:,.0f}-{found.high / 1e3:,.0f})"
