"""One life of one process, from the first task to the last: the same in every world.

Not here: its parts (`chain`, `roles`), and the supervisor that starts it, stops it and starts it
again (`lab.wiring.worlds`).
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from lab.faults.processes.crash_sites import Role
from lab.patterns.drain import Background, Shutdown
from lab.patterns.outbox import Relay
from lab.ports.ids import Ids
from lab.wiring.backends.interface import Backends
from lab.wiring.policy import Policy, Switches
from lab.wiring.ports import Life
from lab.wiring.process.readiness import Readiness
from lab.wiring.process.roles import (
    Api,
    ApiRequests,
    RelayWork,
    Worker,
    make_api,
    make_relay,
    make_worker,
)

_LOOK_US: Final = 20_000


class Program:
    """The program of one process life. Made by `make_program`.

    Attributes:
        api, relay, worker: the one that it is; the others are None.
        life: the life that runs it.
        readiness: whether it is to be given work; whoever runs it adds what else it needs.
    """

    def __init__(
        self, life: Life, policy: Policy, *, built: Api | Relay | Worker, stack: AsyncExitStack
    ) -> None:
        self.api = built if isinstance(built, Api) else None
        self.relay = built if isinstance(built, Relay) else None
        self.worker = built if isinstance(built, Worker) else None
        self.life = life
        self.readiness = Readiness() if self.api is None else self.api.readiness
        if self.worker is not None:
            self.readiness.needs(self.worker.subscription.loop)
            if life.watch is not None:
                self.readiness.needs(life.watch)
        self._policy = policy
        self._stack = stack

    def begin(self) -> None:
        """Start everything that runs by itself. An API only answers."""
        host = self.life.host
        if self.relay is not None:
            host.spawn(self.relay.run(), name="relay")
        if self.worker is not None:
            self.worker.subscription.loop.start()
            if self.worker.beside is not None:
                host.spawn(self.worker.beside(), name="timer")

    async def joined(self, within_us: int) -> None:
        """Wait until it has its part of the work, but not longer than that."""
        if self.worker is None:
            return
        clock, loop = self.life.clock, self.worker.subscription.loop
        until_us = clock.now_us() + within_us
        while not loop.epoch and clock.now_us() < until_us:
            await clock.sleep_us(_LOOK_US)

    def healed(self) -> None:
        """The faults of the run have ended."""
        if self.worker is not None:
            self.worker.subscription.limiter.healed()

    def make_shutdown(
        self,
        *,
        first: Callable[[], None] = lambda: None,
        background: Sequence[Background] = (),
        close: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> Shutdown:
        """The end of the process; called when it is told to stop.

        Args:
            first: called before everything else, once.
            background: of the world that the process lives in, before the program's own.
            close: the same.
        """
        life = self.life
        if life.faults is not None:
            life.faults.begin_drain()
        work: list[Background] = [*background]
        if self.api is not None:
            work.append(ApiRequests(self.api, life.host))
        if self.relay is not None:
            work.append(RelayWork(self.relay, life.host))

        def unready() -> None:
            first()
            if self.api is not None:
                self.api.drain()

        lame_duck_us = self._policy.settings.us("api.lame_duck_ms") if self.api is not None else 0
        return self._policy.part(Switches.drain)(
            unready=unready,
            subscriptions=() if self.worker is None else (self.worker.subscription.loop,),
            background=work,
            close=(*close, self._stack.aclose),
            now=life.pen.now,
            grace_us=self._policy.settings.us("drain.grace_ms"),
            lame_duck=partial(life.clock.sleep_us, lame_duck_us) if lame_duck_us else None,
        )


async def make_program(
    life: Life, role: Role, backends: Backends, policy: Policy, ids: Ids
) -> Program:
    """Connect a process life to the backends and build its program."""
    stack = AsyncExitStack()
    bare, make_consumer = await backends.connect(life, stack)
    built: Api | Relay | Worker
    match role:
        case Role.API:
            built = make_api(life, bare, policy, ids)
        case Role.RELAY:
            built = make_relay(life, bare, policy)
        case Role.CONSUMER:
            built = make_worker(life, bare, make_consumer(), policy)
    return Program(life, policy, built=built, stack=stack)
