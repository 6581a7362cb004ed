"""What looks on at the work of a real process, and where its sentences go.

Not here: what is looked at (`lab.wiring.process`), entries of the history (`onlookers`).
"""

import logging
from typing import Literal

from lab.runtime.clock import SystemClock
from lab.stores.reachability import Tell
from lab.wiring.ports import Host
from lab.wiring.process.broker_watch import BrokerWatch
from lab.wiring.process.life import Program
from lab.wiring.process.progress_watch import ProgressWatch
from lab.wiring.worlds.process_metrics import Meter


def make_tell(log: logging.Logger) -> Tell:
    """Has a line of the log for each server that goes away or comes back, and for what is stuck."""

    def tell(level: Literal["warning", "info"], sentence: str) -> None:
        is_back = level == "info"
        outcome = "success" if is_back else "failure"
        extra = {"event.action": "reachability", "event.outcome": outcome}
        log.log(logging.INFO if is_back else logging.WARNING, sentence, extra=extra)

    return tell


def make_broker_watch(group: str, tell: Tell, meter: Meter | None) -> BrokerWatch:
    """Looks on at the calls of a process to the broker; `meter` counts those that fail."""
    count = (lambda _: None) if meter is None else meter.metrics.consumer_failed
    return BrokerWatch(group, tell=tell, count=count)


def watch_progress(program: Program, host: Host, tell: Tell, meter: Meter | None) -> None:
    """Look on at the subscription of a process, if it has one, for as long as it lives."""
    if program.worker is None:
        return
    loop = program.worker.subscription.loop
    watch = ProgressWatch(loop, program.life.group, SystemClock(), tell)
    program.readiness.needs(watch)
    if meter is not None:
        meter.show_oldest(program.life.group, watch.oldest_us)
    host.spawn(watch.run(), name="progress")
