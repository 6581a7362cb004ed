"""The lab's delivery loop on its Kafka bus, with the handler of all in the place of a service."""

import asyncio
from typing import Final

from benchmarks.peers.stopping import stop_signal
from benchmarks.peers.workload import Job, Work
from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.publisher import KafkaBus
from lab.bus.loop.delivery import DeliveryLoop, Limits
from lab.history.pen import Pen
from lab.patterns.commit_prefix import commit_prefix
from lab.patterns.fencing import accept_present
from lab.ports.bus import Ack, Delivery, Settlement
from lab.runtime.clock import SystemClock

_GRACE_US: Final = 8_000_000
_HANDLED: Final = Ack()


async def consume(job: Job) -> None:
    """Handle until SIGTERM: keys in order, `concurrency` at once, the settled prefix committed."""
    work, stopped = Work(job.journal), stop_signal()
    settings = KafkaSettings(
        bootstrap=job.bootstrap, prefix=job.prefix, session_us=job.session_ms * 1000
    )

    async def on_delivery(delivery: Delivery) -> Settlement:
        await work.handle(delivery.record.value)
        return _HANDLED

    bus = KafkaBus(settings, "peer")
    loop = DeliveryLoop(
        consumer=bus.consumer(job.group),
        handle=on_delivery,
        topics=(job.topic,),
        group=job.group,
        limits=Limits(
            workers=job.concurrency,
            # As many as a loop over batches has in hand.
            max_in_flight=job.batch * job.partitions,
            max_uncommitted=2 * job.batch * job.partitions,
            commit_every=job.batch,
            commit_after_us=job.commit_ms * 1000,
        ),
        position=commit_prefix,
        accepts=accept_present,
        pen=Pen(process="peer", now=SystemClock().now_us),
    )
    loop.start()
    await stopped.wait()
    await loop.stop(_GRACE_US)
    await bus.close()


if __name__ == "__main__":
    asyncio.run(consume(Job.of_this_process()))
