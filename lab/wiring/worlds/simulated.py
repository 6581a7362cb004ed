"""The simulated world: servers that survive, processes that do not, on one virtual clock.

Here is the supervisor too: it starts every process again after `run.restart_ms`, whether it was
killed or had ended by itself. Not here: the program of a process (`process/life.py`), the phases of
a run (`lab.runner`).
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final

from lab.domain.events import READS
from lab.faults.client import ClientInjector
from lab.faults.clock import CLOCK_KINDS, steps_of
from lab.faults.nemesis import Nemesis
from lab.faults.plan.plan import Firing
from lab.faults.processes.crash_sites import Role
from lab.faults.table.bus import LEADER_MOVE, broker_number
from lab.history.pen import Pen
from lab.history.recorder import Write
from lab.runtime.chance import KeyedChance
from lab.runtime.clock import VirtualClock
from lab.runtime.errors import SimulationError
from lab.runtime.ids import SeededIds
from lab.runtime.process_loop import ProcessLoop
from lab.runtime.processes import SimProcess
from lab.runtime.scheduler import AnyScheduler
from lab.runtime.scheduling import SimHandle
from lab.scenarios.client import Client
from lab.wiring.backends.interface import Backends
from lab.wiring.backends.memory import memory_backends
from lab.wiring.backends.memory_servers import Servers, make_servers
from lab.wiring.outcome import End
from lab.wiring.planned import fault_plan
from lab.wiring.policy import Policy
from lab.wiring.ports import make_life
from lab.wiring.process.life import Program, make_program
from lab.wiring.process.roles import Api
from lab.wiring.process.unexpected import ends_by, is_own_mistake, note_unexpected
from lab.wiring.spec import RunSpec
from lab.wiring.workload import blocked_customers
from lab.wiring.worlds.operator import make_operator
from lab.wiring.worlds.simulated_http import SimulatedHttp

GROUPS: Final = tuple(READS)

OUTAGES: Final = {"bus.down": "log", "redis.down": "dedupe", "pg.shutdown": "store"}
"""Which server an outage takes down: a field of `Servers`."""


class SimulatedMember:
    """One process of the lab through all its lives, under its supervisor."""

    def __init__(self, world: "SimulatedWorld", name: str, group: str, role: Role) -> None:
        self.name = name
        self.group = group
        self.role = role
        self.program: Program | None = None
        self._world = world
        self._stop: asyncio.Future[None] | None = None
        self._is_wanted = True
        self._waking: SimHandle | None = None
        self.paused_until_us = 0
        self._process = SimProcess(world.scheduler, name, self._main)

    @property
    def loop(self) -> ProcessLoop | None:
        """The loop of the life that runs, if one does."""
        return self._process.loop

    @property
    def api(self) -> Api | None:
        """The API, if this life serves it."""
        return None if self.program is None else self.program.api

    def start(self) -> None:
        """Begin a life; when it has ended, for any reason, begin the next."""
        loop = self._process.start()
        self._world.note_life(loop.name, "start")
        loop.on_kill.append(self._ended)
        loop.on_error = partial(self._met_error, loop)

    def crash(self) -> None:
        """SIGKILL."""
        loop = self.loop
        if loop is not None:
            self._world.note_life(loop.name, "kill")
            self._process.kill()

    def _met_error(self, loop: ProcessLoop, context: Mapping[str, object]) -> None:
        """An exception came out of a life of it; without some of its parts a process ends."""
        world = self._world
        pen = Pen(process=loop.name, now=world.now_us, write=world.write_or_none)
        if note_unexpected(pen, context) and ends_by(context):
            world.note_life(loop.name, "exited")
            loop.kill()

    def term(self) -> None:
        """SIGTERM."""
        loop = self.loop
        if loop is not None and self._stop is not None and not self._stop.done():
            self._world.note_life(loop.name, "term")
            self._stop.set_result(None)

    def pause(self, for_us: int) -> None:
        """SIGSTOP for so long, or longer if it is to stand still longer anyway."""
        loop, world = self.loop, self._world
        until_us = world.now_us() + for_us
        if loop is None or until_us <= self.paused_until_us:
            return
        self.paused_until_us = until_us
        if self._waking is not None:
            self._waking.cancel()
        else:
            world.note_life(loop.name, "pause")
            world.servers.log.silent(loop)
            loop.pause()
        self._waking = world.scheduler.root.call_after_us(for_us, self.resume)

    def resume(self) -> None:
        """SIGCONT."""
        loop, world = self.loop, self._world
        if loop is None or self._waking is None:
            return
        self._awake()
        world.note_life(loop.name, "resume")
        world.servers.log.heard(loop)
        loop.resume()

    def _awake(self) -> None:
        if self._waking is not None:
            self._waking.cancel()
        self._waking, self.paused_until_us = None, 0

    def retire(self) -> None:
        """Do not start it again."""
        self._is_wanted = False

    def _ended(self) -> None:
        self.program = self._stop = None
        self._awake()
        if self._is_wanted:
            world = self._world
            world.scheduler.root.call_after_us(world.restart_us, self._again)

    def _again(self) -> None:
        if self._is_wanted and self.loop is None:
            self.start()

    async def _main(self, loop: ProcessLoop) -> None:
        world = self._world
        self._stop = stop = loop.create_future()
        life = make_life(
            loop,
            pen=Pen(process=loop.name, now=world.now_us, write=world.write_or_none),
            clock=VirtualClock(loop),
            member=self.name,
            group=self.group,
            role=self.role,
            plan=world.policy.plan,
            kill=self.crash,
            term=self.term,
            pause=self.pause,
            steps=steps_of(
                world.plan.timetable(),
                member=self.name,
                group=self.group,
                began_us=loop.now_us() - world.plan.now_us(),
                started_us=loop.now_us(),
            ),
        )
        program = await make_program(life, self.role, world.backends, world.policy, world.ids)
        self.program = program
        if world.is_healed:
            program.healed()
        program.begin()
        await stop
        await program.make_shutdown().on_signal()
        world.note_life(loop.name, "stopped")


class SimulatedWorld:
    """One simulated world, made and not started. See `lab.runner.World`.

    Args:
        spec: of the run.
        write: takes the entries of the history, or None.
        scheduler: of its processes, with their time.
        replace: puts real backends in the place of those in memory.
    """

    def __init__(
        self,
        spec: RunSpec,
        *,
        write: Write | None,
        scheduler: AnyScheduler,
        replace: Callable[[Backends, Policy], Backends] = lambda backends, _: backends,
    ) -> None:
        settings = spec.settings
        self.spec = spec
        self.write_or_none = write
        self.write: Write = write or _forget
        self.scheduler = scheduler
        root = self.scheduler.root
        self.now_us = root.now_us
        self.clock = VirtualClock(root)
        chance = KeyedChance(spec.seed)
        self.plan = fault_plan(spec, chance, root.now_us, write)
        self.policy = Policy(settings=settings, off=spec.off, chance=chance, plan=self.plan)
        self.ids = SeededIds(spec.seed)
        self.servers: Servers = make_servers(self.scheduler, self.policy, write=write)
        if write is not None:
            for customer in blocked_customers(spec):
                write(("blocked", root.now_us(), "store", "", customer))
        self.backends = replace(memory_backends(self.servers, self.plan), self.policy)
        self.restart_us = settings.us("run.restart_ms")
        self.is_healed = False
        self.members = _members(self, settings.number("run.members"))
        self.client = Client(
            http=SimulatedHttp(root, self.members[-1]),
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
            write=write,
        )
        self._nemesis = Nemesis(self.plan, timers=root, begin=self._begin, end=self._end)

    async def start(self) -> None:
        for member in self.members:
            member.start()
        self._nemesis.begin()

    def spawn(self, call: Coroutine[Any, Any, None]) -> None:
        self.scheduler.root.spawn(call)

    async def heal(self) -> None:
        self.is_healed = True
        self._nemesis.heal()
        for member in self.members:
            member.resume()
            if member.program is not None:
                member.program.healed()

    async def is_drained(self) -> bool:
        # A record is committed only after its delivery was settled: no lag, nothing in flight.
        if any(member.loop is None for member in self.members):
            return False
        store = self.backends.store
        if any((await store.owed()).values()) or await store.is_expiry_due():
            return False
        return not await self.backends.bus.lag()

    def strikes_until_us(self) -> int:
        # A lasting fault goes on for its whole length, also with a short load.
        ends = [firing.ends_us for firing in self.plan.timetable()]
        ends += [spec.until_us for spec in self.plan.specs if spec.until_us is not None]
        ends += [member.paused_until_us for member in self.members]
        return max(ends)

    async def stop(self) -> None:
        """Start no process again, and let the leases of the dead run out."""
        for member in self.members:
            member.retire()
        if await self.backends.dedupe.owners():
            await self.clock.sleep_us(self.spec.settings.us("dedupe.lease_ms"))

    def halt(self) -> None:
        """Let no process take another step: the run is over, and nobody is told."""
        for member in self.members:
            if member.loop is not None:
                member.loop.kill()

    async def note_what_is_left(self) -> None:
        for entry in await self.backends.left(self.now_us()):
            self.write(entry)

    async def look(self) -> End:
        """The world as it is now."""
        return End(
            survey=await self.backends.store.survey(),
            owed=await self.backends.owed(),
            now_us=self.now_us(),
            epoch_us=self.scheduler.root.wall_us() - self.scheduler.root.now_us(),
        )

    def raise_errors(self) -> None:
        """End the run if an exception that nobody handled is a mistake of the lab's own.

        One of the order system stands in the history, if there is one.

        Raises:
            SimulationError: names the process and the error.
        """
        root = self.scheduler.root.name
        for error in self.scheduler.errors:
            is_noted = self.write_or_none is not None and error.process != root
            if is_noted and error.exception is not None and not is_own_mistake(error.exception):
                continue
            raise SimulationError(
                f"in process {error.process}: {error.message}: {error.exception!r}"
            ) from error.exception

    def close(self) -> None:
        """Let go of everything: else it stays in memory with the dead processes."""
        self.scheduler.close()
        self.servers.store.clear()
        self.servers.dedupe.forget()
        self.servers.log.close()

    def note_life(self, process: str, event: str) -> None:
        self.write(("life", self.now_us(), process, "", event))

    def _begin(self, kind: str, site: str, firing: Firing) -> None:
        if kind == LEADER_MOVE:
            is_killed = firing.params["how"] == "killed"
            elects_us = firing.number("elects") if is_killed else 0
            self.servers.log.lose_broker(broker_number(site), elects_us=elects_us)
            return
        if kind in OUTAGES:
            getattr(self.servers, OUTAGES[kind]).begin_outage()
            return
        if kind in CLOCK_KINDS:
            # Clocks go wrong by themselves: see `lab.faults.clock`.
            return
        for member in self.members:
            if site not in (member.name, member.group):
                continue
            match kind:
                case "proc.crash":
                    member.crash()
                case "proc.term":
                    member.term()
                case "proc.pause":
                    member.pause(firing.number("for"))
                case _:
                    raise AssertionError(f"{kind} does not strike at a time")

    def _end(self, kind: str, site: str, firing: Firing) -> None:  # noqa: ARG002 - one server each
        # A process that stands still has its own timer: it may have been killed meanwhile.
        if kind == LEADER_MOVE:
            self.servers.log.regain_broker(broker_number(site))
        if kind in OUTAGES:
            getattr(self.servers, OUTAGES[kind]).end_outage()


def _forget(_entry: object) -> None:
    """Nobody looks."""


def _members(world: SimulatedWorld, members: int) -> tuple[SimulatedMember, ...]:
    """Every process; the API is the last."""
    return (
        *(
            SimulatedMember(world, f"{group}-{number}", group, Role.CONSUMER)
            for number in range(1, members + 1)
            for group in GROUPS
        ),
        SimulatedMember(world, "relay-1", "relay", Role.RELAY),
        SimulatedMember(world, "api-1", "api", Role.API),
    )
