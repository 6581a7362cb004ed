"""One operating-system process of the lab: connects, runs its program, and ends by a signal.

SIGTERM drains, a second one aborts. A line on standard output says that it is ready; logs on
standard error tell of everything beside the orders. Not here: its program (`process/life.py`), and
its supervisor (`real_member.py`, or anybody with a shell).
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from lab.domain.envelope import H_SUBJECT
from lab.domain.errors import EnvironmentNotReady
from lab.faults.clock import Step
from lab.faults.plan.plan import FaultPlan
from lab.faults.provider import ProviderFaults
from lab.faults.remote.plan import RemotePlan
from lab.history.pen import Pen
from lab.observe.ecs import hear_of_threads, log_to_stderr
from lab.observe.live import Live
from lab.patterns.drain import ExitAtOnce, ShutdownReport
from lab.ports.clock import Clock
from lab.providers.http_front import make_front
from lab.providers.ledger_file import ledger_file
from lab.runtime.chance import KeyedChance
from lab.runtime.clock import SystemClock
from lab.runtime.http_server import http_server
from lab.runtime.real_loop import run_on
from lab.stores.reachability import Tell, tell_nobody
from lab.wiring.backends.memory_servers import make_third_parties
from lab.wiring.backends.real import (
    HttpThirdParties,
    KafkaBackend,
    PostgresBackend,
    RealBackends,
)
from lab.wiring.backends.redis_claims import RedisBackend
from lab.wiring.policy import Policy
from lab.wiring.ports import Life, make_life
from lab.wiring.process.broker_watch import BrokerWatch
from lab.wiring.process.life import Program, make_program
from lab.wiring.process.trace_watch import TraceWatch
from lab.wiring.process.unexpected import telling
from lab.wiring.standing import retention_job
from lab.wiring.worlds.assignment import PROVIDERS, Assignment
from lab.wiring.worlds.async_host import AsyncHost
from lab.wiring.worlds.health import health_app
from lab.wiring.worlds.onlookers import make_ids, make_live, make_traces, watch_of
from lab.wiring.worlds.onlooking import make_broker_watch, make_tell, watch_progress
from lab.wiring.worlds.process_metrics import Meter
from lab.wiring.worlds.recorded_requests import recorded_requests
from lab.wiring.worlds.signals import ProcessSignals
from lab.wiring.worlds.stall_watch import write_stalls

READY: Final = "ready"

NOT_READY: Final = 4
_MISTAKE: Final = 70

JOIN_US: Final = 40_000_000
"""The first group of all waits until the broker has made its topic of positions."""


def run_process(assignment: Assignment) -> None:
    """Be the process that `assignment` describes, until it is asked to end.

    Raises:
        SettingError, FaultError: the assignment is impossible.
        EnvironmentNotReady: its log cannot be written where it is to be.
        ProcessEnded: by an error, of which a line of its log tells.
    """
    assignment.check()
    log = log_to_stderr(
        service=assignment.service,
        process=assignment.process,
        run_id=assignment.name,
        folder=Path(assignment.telemetry) if assignment.telemetry else None,
    )
    hear_of_threads()
    main = _be_third_parties if assignment.role == PROVIDERS else _be_process
    try:
        run_on(assignment.policies().text("process.loop"), main(assignment, log))
    except Exception as error:
        # Whoever reads its log reads nothing else.
        raise _tell_of_the_end(error, log) from error
    finally:
        # Faults may end in the very moment in which it ends: an interpreter that is being torn down
        # has no handlers, and the signal would kill it.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


class ProcessEnded(Exception):
    """A process has ended by an error, and its log says so.

    Attributes:
        exit_code: of a mistake of the lab's own, or of a server that is not fit for use.
    """

    def __init__(self, *, is_own_mistake: bool) -> None:
        super().__init__("its log says why")
        self.exit_code = _MISTAKE if is_own_mistake else NOT_READY


def _tell_of_the_end(error: Exception, log: logging.Logger) -> ProcessEnded:
    extra = {"event.action": "end", "event.outcome": "failure"}
    if isinstance(error, EnvironmentNotReady):
        said = " ".join(str(error).split())
        extra |= {"error.type": type(error).__name__, "error.message": said}
        log.critical(said, extra=extra)
        return ProcessEnded(is_own_mistake=False)
    said = f"a mistake of the lab itself, not yours: {type(error).__name__}; please report it"
    log.critical(said, extra=extra, exc_info=error)
    return ProcessEnded(is_own_mistake=True)


async def _be_process(assignment: Assignment, log: logging.Logger) -> None:
    signals = ProcessSignals(assignment)
    async with AsyncExitStack() as stack:
        clock, host = SystemClock(), AsyncHost(signals.failed)
        meter = None if assignment.port is None else Meter(assignment)
        traces = make_traces(assignment)
        write = make_live(assignment, signals.fail, stack, meter, log, traces).write
        signals.pen = pen = Pen(process=assignment.process, now=clock.now_us, write=write)
        plan = _make_plan(assignment, clock, stack)
        policy = _make_policy(assignment, plan)
        tell = make_tell(log)
        watch = make_broker_watch(assignment.group, tell, meter)
        life = _make_life(assignment, host, pen, clock, plan, watch=watch, follows=watch_of(traces))
        backends = make_backends(assignment, policy, tell=tell)
        if not assignment.is_supervised:
            for backend in backends.all:
                await backend.prepare(stack)
        program = await make_program(
            life, assignment.as_role, backends, policy, make_ids(assignment)
        )
        program.readiness.needs(signals)
        program.readiness.tell(partial(_tell_of_readiness, log))
        if meter is not None:
            if not assignment.is_supervised:
                needed = backends.needed(assignment.as_role, policy.settings)
                program.readiness.needs_servers(needed, stack)
            meter.watch(program, None if assignment.is_supervised else backends, stack)
            await _answer(assignment, program, meter, signals, stack, pen)
        if assignment.is_healed:
            program.healed()
        signals.on_heal(program.healed)
        program.begin()
        watch_progress(program, host, tell, meter)
        if not assignment.is_supervised and program.relay is not None:
            job = retention_job(backends, policy.settings, clock, stack, log)
            host.spawn(job.run(), name="retention")
        if write is not None:
            host.spawn(write_stalls(clock, write, lambda: (pen.process,)))
        if assignment.is_supervised and assignment.life == 1:
            # The faults of a run are for groups that work; a restarted life is not waited for.
            await program.joined(JOIN_US)
        signals.is_ready = True
        _say_ready(assignment, log, signals.url)
        await signals.wait()
        signals.is_stopping = True
        _note_life(pen, "term")
        # Of a supervised process the second signal is one more fault, not a person's impatience.
        again = None if assignment.is_supervised else signals
        report = await _end(program, again, log)
        _note_life(pen, "aborted" if report.is_aborted else "stopped")


def _make_life(
    assignment: Assignment,
    host: AsyncHost,
    pen: Pen,
    clock: Clock,
    plan: FaultPlan,
    *,
    watch: BrokerWatch,
    follows: TraceWatch | None,
) -> Life:
    """This process as one life; whatever strikes it strikes the operating system's process."""
    return make_life(
        host,
        pen=pen,
        clock=clock,
        member=assignment.member,
        group=assignment.group,
        role=assignment.as_role,
        plan=plan,
        kill=lambda: os.kill(os.getpid(), signal.SIGKILL),
        term=lambda: os.kill(os.getpid(), signal.SIGTERM),
        pause=lambda for_us: _pause_self(plan, assignment.member, for_us),
        steps=[Step(*step) for step in assignment.clock_steps],
        watch=watch,
        follows=follows,
    )


def _pause_self(plan: FaultPlan, member: str, for_us: int) -> None:
    """Have the supervisor stop this process: it could not wake itself."""
    if isinstance(plan, RemotePlan):
        plan.pause(member, for_us)


def _note_life(pen: Pen, event: str) -> None:
    if pen.write is not None:
        pen.write(("life", pen.now(), pen.process, "", event))


async def _end(
    program: Program, signals: "ProcessSignals | None", log: logging.Logger
) -> ShutdownReport:
    """End the work of a process that was asked to stop; asked again by `signals`, abort it."""
    shutdown = program.make_shutdown()
    if isinstance(shutdown, ExitAtOnce):
        _note_life(program.life.pen, "stopped")
        # Nothing is settled, committed or closed on the way out: not by a `finally` either.
        logging.shutdown()
        os._exit(0)
    loop = asyncio.get_running_loop()
    ending = loop.create_task(telling(shutdown.on_signal(), program.life.pen))
    again: list[asyncio.Task[ShutdownReport]] = []
    if signals is not None:
        signals.on_again(lambda: again.append(loop.create_task(shutdown.on_signal())))
    report = await ending
    log.info(
        "stopped",
        extra={
            "event.action": "drain",
            "event.outcome": "success" if report.is_clean else "failure",
            "lab.drained": len(report.drained),
            "lab.cancelled": len(report.cancelled),
            "lab.abandoned": len(report.abandoned),
            "lab.aborted": report.is_aborted,
        },
    )
    for task in again:
        await task
    return report


async def _be_third_parties(assignment: Assignment, log: logging.Logger) -> None:
    signals = ProcessSignals(assignment)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        plan = _make_plan(assignment, clock, stack)
        ledger = stack.enter_context(ledger_file(Path(assignment.ledger), clock=clock))
        meter = Meter(assignment)
        settings = assignment.policies()
        third = make_third_parties(
            settings,
            KeyedChance(assignment.seed or 0),
            now_us=clock.now_us,
            write=Live(ledger.write, [meter.metrics]).write,
        )
        faults = ProviderFaults(plan) if ProviderFaults.is_wanted(plan) else None
        front = make_front(
            third.all,
            ledger=ledger,
            clock=clock,
            faults=faults,
            skew_us=settings.us("provider_key.skew_ms"),
        )
        app = meter.around(front, is_timed=True)
        server = await stack.enter_async_context(
            http_server(app, host=assignment.host, port=assignment.port or 0)
        )
        signals.url = server.url
        _say_ready(assignment, log, signals.url)
        await signals.wait()
        signals.on_again(server.abort)


def make_backends(
    assignment: Assignment,
    policy: Policy,
    *,
    epoch_us: int = 0,
    blocked: Callable[[], Sequence[str]] = tuple,
    tell: Tell = tell_nobody,
) -> RealBackends:
    """The real servers, as a process or its supervisor uses them."""
    where, settings = assignment.where, policy.settings
    ledger = Path(assignment.ledger) if assignment.ledger else None
    return RealBackends(
        bus=KafkaBackend(where, settings, epoch_us=epoch_us, is_run=assignment.seed is not None),
        store=PostgresBackend(
            where,
            settings,
            epoch_us=epoch_us,
            blocked=blocked,
            member=assignment.process,
            keeps_facts=assignment.seed is not None,
            tell=tell,
        ),
        dedupe=RedisBackend(
            where.redis_url, where.name, compares_fences=policy.compares_fences, tell=tell
        ),
        third=HttpThirdParties(where.providers_url, ledger=ledger),
    )


async def _answer(
    assignment: Assignment,
    program: Program,
    meter: Meter,
    signals: "ProcessSignals",
    stack: AsyncExitStack,
    pen: Pen,
) -> None:
    """Answer over HTTP: orders, or how the process is."""
    api = program.api
    if api is None:
        app = health_app(program.readiness.reasons)
    else:
        header = "" if assignment.seed is None else H_SUBJECT
        app = recorded_requests(api.app, pen, header, program.life.follows)
    app = meter.around(app, is_timed=api is not None)
    server = await stack.enter_async_context(
        http_server(app, host=assignment.host, port=assignment.port or 0)
    )
    signals.url = server.url


def _make_plan(assignment: Assignment, clock: Clock, stack: AsyncExitStack) -> FaultPlan:
    """The supervisor's plan from here, or one without faults."""
    if assignment.control:
        seed = assignment.seed or 0
        plan = RemotePlan(assignment.control, seed=seed, chance=KeyedChance(seed))
        stack.callback(plan.close)
        return plan
    return FaultPlan(seed=0, chance=KeyedChance(0), now_us=clock.now_us)


def _make_policy(assignment: Assignment, plan: FaultPlan) -> Policy:
    return Policy(
        settings=assignment.policies(),
        off=assignment.off,
        chance=KeyedChance(assignment.seed or 0),
        plan=plan,
    )


def _say_ready(assignment: Assignment, log: logging.Logger, url: str = "") -> None:
    """Say so in one line on standard output, and in the log."""
    log.info("ready", extra={"event.action": READY, "url.full": url})
    with suppress(OSError):
        told = msgspec.json.encode({READY: assignment.process, "url": url})
        os.write(sys.stdout.fileno(), told + b"\n")


def _tell_of_readiness(log: logging.Logger, reasons: Sequence[str]) -> None:
    """One line for each change that a probe has met."""
    if reasons:
        said = {"event.action": READY, "event.outcome": "failure"}
        log.warning("not ready", extra={**said, "event.reason": "; ".join(reasons)})
    else:
        log.info("ready for work", extra={"event.action": READY, "event.outcome": "success"})
