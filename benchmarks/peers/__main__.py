"""`python -m benchmarks.peers`: measure everything, and write `docs/beside-peers.md`.

The README beside this file says what is measured and why so.
"""

import argparse
import importlib.metadata
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.peers import kafka_rounds, loop_rounds
from benchmarks.peers.catalogue import PEERS, Peer
from benchmarks.peers.loop_peers import LOOPS, Loop
from benchmarks.peers.page import render
from benchmarks.peers.results import Results
from benchmarks.peers.running import MeasureError
from lab import __version__
from lab.bench.interpreter import this_machine
from lab.settings import environment
from lab.wiring.backends.readiness import addresses, look_at_servers

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "beside-peers.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; 0 if all of it was measured, 130 after Ctrl-C."""
    asked = _parser().parse_args(arguments)
    peers = [one for one in PEERS if not asked.only or one.name in asked.only]
    loops = [one for one in LOOPS if not asked.only or one.name in asked.only]
    try:
        results = _measure(peers, loops, messages=asked.messages, rounds=asked.rounds)
    except MeasureError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if asked.only:
        print(render(results), end="")
    else:
        PAGE.write_text(render(results), encoding="utf-8")
        print(f"written: {PAGE.relative_to(PAGE.parents[1])}", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    names = [one.name for one in (*PEERS, *LOOPS)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument(
        "--messages",
        type=int,
        default=60_000,
        help="records of the rates' topic; near its end few partitions have any left",
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=names,
        metavar="NAME",
        help=f"this one only, printed and not written; may be repeated: {', '.join(names)}",
    )
    return parser


def _measure(
    peers: Sequence[Peer], loops: Sequence[Loop], *, messages: int, rounds: int
) -> Results:
    date, machine = time.strftime("%Y-%m-%d"), this_machine()
    found, missing = _versions([*peers, *loops])
    peers = [one for one in peers if one.name not in missing]
    loops = [one for one in loops if one.name not in missing]
    passes = range(rounds if loops else 0)
    loop_found = [loop_rounds.take_round(loops, each, _say) for each in passes]
    traces = {}
    for loop in loops:
        _say(f"traces of {loop.name}")
        traces[loop.name] = loop_rounds.repeat_traces(loop)
    broker, kafka = _kafka(peers, messages, rounds) if peers else ("no broker", [])
    return Results(
        date=date,
        machine=machine,
        broker=broker,
        versions=found,
        missing=missing,
        kafka=kafka,
        loops=loop_found,
        traces=traces,
    )


def _kafka(
    peers: Sequence[Peer], messages: int, rounds: int
) -> tuple[str, list[dict[str, kafka_rounds.KafkaRound]]]:
    """The broker's version, and what every round has measured.

    Raises:
        MeasureError: there is no broker, the extra is not installed, or a consumer did not do its
            work.
    """
    try:
        from benchmarks.peers.broker import filled_topics  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as error:
        raise MeasureError(f"{error}; install the extra: see the README beside this") from error
    variables = environment()
    there = next(one for one in look_at_servers(variables) if one.name == "Kafka")
    if there.problem:
        raise MeasureError(f"Kafka at {there.address}: {there.problem}. {there.remedy}")
    bootstrap = addresses(variables)["KAFKA_BOOTSTRAP"]
    prefix, loads = f"peers-{secrets.token_hex(5)}", kafka_rounds.loads(messages)
    with (
        tempfile.TemporaryDirectory(prefix="peers-") as folder,
        filled_topics(bootstrap, prefix, loads, partitions=kafka_rounds.PARTITIONS),
    ):
        place = kafka_rounds.Place(
            bootstrap=bootstrap, prefix=prefix, folder=Path(folder), loads=loads
        )
        return f"Kafka {there.version} on the same machine", [
            kafka_rounds.take_round(place, peers, each, _say) for each in range(rounds)
        ]


def _versions(ones: Sequence[Peer | Loop]) -> tuple[dict[str, str], dict[str, str]]:
    """The version of every distribution, and why whose is missing."""
    found, missing = {"pulse-lab": __version__}, {}
    for one in ones:
        for package in one.packages:
            try:
                found[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                missing[one.name] = _why_missing(package)
    return found, missing


def _why_missing(package: str) -> str:
    if package == "simloop" and sys.version_info < (3, 12):
        return "needs Python 3.12"
    return f"{package} is not installed"


def _say(doing: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {doing}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
