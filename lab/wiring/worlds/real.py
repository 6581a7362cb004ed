"""The real world: operating-system processes on real servers, watched by the process of the run.

The run's process owns the fault plan and its counters, plays the client, and knows no more of the
others than any operator: signals, servers, and journals. Not here: starting
processes again (`real_member.py`), the process itself (`real_process.py`).
"""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import msgspec

from lab.domain.events import READS
from lab.faults.client import ClientInjector
from lab.faults.clock import CLOCK_KINDS, Step, steps_of
from lab.faults.nemesis import Nemesis
from lab.faults.plan.plan import Firing
from lab.faults.remote.server import PlanServer
from lab.faults.table.bus import LEADER_MOVE, broker_number
from lab.history.entries import Entry, counted_from
from lab.history.journal import merged, read_journal
from lab.runtime.chance import KeyedChance
from lab.runtime.clock import SystemClock
from lab.runtime.errors import SimulationError
from lab.runtime.http_caller import http_caller
from lab.runtime.http_server import LOOPBACK, reserved_port
from lab.scenarios.client import Client
from lab.settings import environment
from lab.wiring.backends.interface import prepare_all
from lab.wiring.outcome import End
from lab.wiring.planned import fault_plan
from lab.wiring.policy import Policy
from lab.wiring.spec import RunSpec
from lab.wiring.worlds.assignment import PROVIDERS, Assignment
from lab.wiring.worlds.async_host import AsyncHost
from lab.wiring.worlds.operator import make_operator
from lab.wiring.worlds.outages import BROKERS, OUTAGES, Outages, check_can_strike_all, servers_of
from lab.wiring.worlds.real_member import RealMember
from lab.wiring.worlds.real_process import make_backends
from lab.wiring.worlds.real_start import starting
from lab.wiring.worlds.run_lock import HeldLock

CLIENT_CONNECTIONS: Final = 256
"""A client that waits for a connection of its own would make a slow API look slower than it is."""

_END_SPARE_US: Final = 3_000_000


class RealWorld:
    """One real run: see `lab.runner.World`. Entered before it is driven.

    Args:
        spec: of the run.
        held: names the run and its servers; its folder is for the files of the processes:
            assignments, journals, logs, the ledger.
        blocked: the customers of the load with a bad record.

    Attributes:
        left: see `remove`.
        is_cut: Ctrl-C came.
        failed: set when `raise_errors` has something to raise.
    """

    def __init__(self, spec: RunSpec, held: HeldLock, blocked: Sequence[str]) -> None:
        self.spec = spec
        self.folder = held.folder
        self._held = held
        self.clock = SystemClock()
        self.entries: list[Entry] = []
        self.write = self.entries.append
        chance = KeyedChance(spec.seed)
        self.plan = fault_plan(spec, chance, self.clock.now_us, self.write)
        self.policy = Policy(settings=spec.settings, off=spec.off, chance=chance, plan=self.plan)
        self.origin_us = self.clock.now_us()
        self._first = _first_assignment(spec, held)
        self.backends = make_backends(
            self._first,
            self.policy,
            epoch_us=self.clock.wall_us() - self.clock.now_us(),
            blocked=lambda: blocked,
        )
        self.members: tuple[RealMember, ...] = ()
        self.left = held.left
        self.is_cut = False
        self.failed = asyncio.Event()
        self._servers_script = environment().get("SERVERS", "")
        self._outages = Outages(self._servers_script)
        self._began_us = 0
        self._end_us = 0
        self._cut_us: int | None = None

    @property
    def name(self) -> str:
        """Of the run on the servers."""
        return self._first.name

    async def open(self, stack: AsyncExitStack) -> None:
        """Prepare the servers and start every process; `stack` ends them and cleans up.

        Raises:
            EnvironmentNotReady: a server is not there, or not fit for use.
        """
        # It imports while the servers are made ready.
        self._start = await stack.enter_async_context(starting(self._held))
        at = {
            "kafka": self._first.kafka_bootstrap,
            "redis": self._first.redis_url,
            "postgres": self._first.postgres_dsn,
        }
        await check_can_strike_all(self._servers_script, self.plan.timetable(), at)
        await prepare_all(self.backends.all, stack, keep=self.spec.world.keep, left=self.left)
        questions = PlanServer(self.plan, on_pause=self._pause)
        stack.callback(questions.close)
        control = await questions.start(self.folder / "control")
        stack.push_async_callback(self._end_all)
        stack.push_async_callback(self._outages.end)
        # Everybody starts at once, so all must know beforehand where the third parties will be; and
        # a restarted server is found where it was.
        third, own = (stack.enter_context(reserved_port()) for _ in range(2))
        first = msgspec.structs.replace(
            self._first, control=control, providers_url=f"http://{LOOPBACK}:{third}", port=own
        )
        assignments = _assignments(first, third, self.spec.settings.number("run.members"))
        self.members = tuple(self._member(one) for one in assignments)
        await asyncio.gather(*[member.start() for member in self.members])
        self._host = AsyncHost(self._fail)
        self._failures: list[BaseException] = []
        api = next(member for member in self.members if member.group == "api")
        http = await stack.enter_async_context(
            http_caller(api.url, connections_max=CLIENT_CONNECTIONS)
        )
        settings = self.spec.settings
        self.client = Client(
            http=http,
            clock=self.clock,
            faults=ClientInjector(self.plan),
            write=self.write,
            timeout_us=settings.us("client.timeout_ms"),
            retry_us=settings.us("client.retry_ms"),
        )
        self.operator = make_operator(
            self.policy,
            reader=self.backends.bus.reader(),
            publisher=self.backends.bus.publisher(),
            clock=self.clock,
            write=self.write,
        )
        self._nemesis = Nemesis(self.plan, timers=self._host, begin=self._begin, end=self._end)

    async def start(self) -> None:
        """Everybody is ready since `open`: the faults begin."""
        self._began_us = self.clock.now_us()
        self._nemesis.begin()

    def spawn(self, call: Coroutine[Any, Any, None]) -> None:
        self._host.spawn(call)

    async def heal(self) -> None:
        self._nemesis.heal()
        for member in self.members:
            member.heal()

    async def is_drained(self) -> bool:
        self.raise_errors()
        if not all(member.is_alive for member in self.members):
            return False
        store = self.backends.store
        if any((await store.owed()).values()) or await store.is_expiry_due():
            return False
        return not await self.backends.bus.lag()

    def strikes_until_us(self) -> int:
        ends = [firing.ends_us for firing in self.plan.timetable()]
        ends += [spec.until_us for spec in self.plan.specs if spec.until_us is not None]
        paused_us = max(member.paused_until_us for member in self.members)
        return max(self._began_us + max(ends, default=0), paused_us)

    async def cut_short(self) -> None:
        """End the run here: how everybody stops, with all others at once, is not judged."""
        self._cut_us = self.clock.now_us()
        await self.heal()

    async def stop(self) -> None:
        """Start no process again, and let the leases of the dead run out."""
        for member in self.members:
            member.retire()
        if await self.backends.dedupe.owners():
            await self.clock.sleep_us(self.spec.settings.us("dedupe.lease_ms"))

    async def note_what_is_left(self) -> None:
        for entry in await self.backends.left(self.clock.now_us()):
            self.write(entry)
        # Looking takes its time, in which everybody goes on.
        self._end_us = self.clock.now_us()

    async def look(self) -> End:
        """The world as it is now."""
        return End(
            survey=await self.backends.store.survey(),
            owed=await self.backends.owed(),
            now_us=self.clock.now_us() - self.origin_us,
            epoch_us=self.clock.wall_us() - self.clock.now_us() + self.origin_us,
        )

    async def history(self) -> Iterator[Entry]:
        """Everything that everybody wrote down, by time; ends every process first.

        Entries of a process after the end of the run are left out, and so are its commits and dead
        letters since.
        """
        await self._end_all()
        end_us = self._end_us or self.clock.now_us()
        facts = [
            [entry async for entry in backend.facts() if not _is_too_late(entry, end_us)]
            for backend in self.backends.all
        ]
        journals = [
            [
                entry
                for entry in read_journal(path)
                if _time_of(entry) <= end_us and not self._is_of_the_cut(entry)
            ]
            for member in self.members
            for path in member.journals
            # A life that was killed at its very start has written nothing.
            if path.exists()
        ]
        return (
            counted_from(self.origin_us, one) for one in merged([self.entries, *journals, *facts])
        )

    def _is_of_the_cut(self, entry: Entry) -> bool:
        """Whether it tells of a stop that only the end of an interrupted run has caused."""
        if self._cut_us is None or _time_of(entry) < self._cut_us:
            return False
        return entry[0] == "drained" or (entry[0] == "life" and entry[4] in _STOPS)

    def raise_errors(self) -> None:
        """A process that ended as none should, or a part of the run that failed, ends the run.

        Raises:
            SimulationError, EnvironmentNotReady: names the process and quotes its log.
        """
        for member in self.members:
            if member.error is not None:
                raise member.error
        for failure in self._failures:
            raise SimulationError(f"a part of the run has failed: {failure!r}") from failure

    async def _end_all(self) -> None:
        settings = self.spec.settings
        stop_us = settings.us("api.lame_duck_ms") + settings.us("drain.grace_ms")
        grace_us = stop_us + _END_SPARE_US
        await asyncio.gather(*[member.end(grace_us) for member in self.members])

    def _member(self, assignment: Assignment) -> RealMember:
        return RealMember(
            assignment,
            folder=self.folder,
            start=self._start,
            note_life=self._note_life,
            restart_us=self.spec.settings.us("run.restart_ms"),
            steps_of=self._steps,
            on_error=self.failed.set,
        )

    def _steps(self, member: str, group: str) -> tuple[Step, ...]:
        """The error of the clock of a life that begins now."""
        now_us = self.clock.now_us()
        # The first lives begin before the faults: their clocks are wrong from the start.
        began_us = self._began_us or now_us
        return steps_of(
            self.plan.timetable(),
            member=member,
            group=group,
            began_us=began_us,
            started_us=now_us,
        )

    def _note_life(self, process: str, event: str) -> None:
        self.write(("life", self.clock.now_us(), process, "", event))

    def _fail(self, error: BaseException, _name: str) -> None:
        self._failures.append(error)

    def _begin(self, kind: str, site: str, firing: Firing) -> None:
        if kind == LEADER_MOVE:
            what = "kill" if firing.params["how"] == "killed" else "stop"
            self._outage(what, BROKERS[broker_number(site) - 1])
            return
        if kind in OUTAGES:
            self._outage("pause", *self._servers_of(kind))
            return
        for member in self._chosen(site):
            match kind:
                case "proc.crash":
                    member.crash()
                case "proc.term":
                    member.term()
                case "proc.pause":
                    member.pause(firing.number("for"))
                case _:
                    assert kind in CLOCK_KINDS, kind

    def _end(self, kind: str, site: str, _firing: Firing) -> None:
        if kind == LEADER_MOVE:
            self._outage("start", BROKERS[broker_number(site) - 1])
        elif kind in OUTAGES:
            self._outage("resume", *self._servers_of(kind))
        elif kind == "proc.pause":
            for member in self._chosen(site):
                member.resume()

    def _servers_of(self, kind: str) -> tuple[str, ...]:
        return servers_of(OUTAGES[kind], self._first.kafka_bootstrap)

    def _outage(self, what: str, *servers: str) -> None:
        self._host.spawn(self._outages.strike(what, *servers))

    def _pause(self, name: str, for_us: int) -> None:
        """A process asked to be stopped: it could not wake itself."""
        for member in self.members:
            if member.name == name:
                member.pause(for_us)

    def _chosen(self, site: str) -> list[RealMember]:
        return [member for member in self.members if site in (member.name, member.group)]


_ENDING: Final = ("committed", "waiting")
_STOPS: Final = ("term", "stopped", "aborted")


def _is_too_late(entry: Entry, end_us: int) -> bool:
    """Whether a process did it that ends its work: nothing is known then of the others."""
    return entry[0] in _ENDING and _time_of(entry) > end_us


def _time_of(entry: Entry) -> int:
    t_us = entry[1]
    assert isinstance(t_us, int)
    return t_us


def _first_assignment(spec: RunSpec, held: HeldLock) -> Assignment:
    """The common part of all assignments of the run."""
    lock = held.lock
    return Assignment(
        role="api",
        member="api-1",
        group="api",
        name=lock.name,
        postgres_dsn=lock.postgres_dsn,
        redis_url=lock.redis_url,
        kafka_bootstrap=lock.kafka_bootstrap,
        seed=spec.seed,
        off=spec.off,
        settings=dict(spec.settings.values),
        faults=tuple(fault.text for fault in spec.faults),
        port=0,
        journal="yes",
        ledger=str(held.folder / "ledger.ndjson"),
        is_supervised=True,
    )


def _assignments(first: Assignment, port: int, members: int) -> list[Assignment]:
    """Third parties (at `port`), API, relay, and the members of each group."""
    replace = msgspec.structs.replace
    return [
        replace(first, role="providers", member=PROVIDERS, group=PROVIDERS, port=port, journal=""),
        first,
        replace(first, role="relay", member="relay-1", group="relay", port=None),
        *(
            replace(first, role="consumer", member=f"{group}-{n}", group=group, port=None)
            for n in range(1, members + 1)
            for group in READS
        ),
    ]
