"""taskiq on its Kafka broker: the worker of its command line, one process, the handler as a task.

It reads the same records as all others: a formatter makes a task of each. Its own client would
publish without a key, and then no two tasks are of one order.
"""

import logging
import sys
from typing import Any, Final

from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from taskiq.cli.worker.args import WorkerArgs
from taskiq.cli.worker.run import run_worker
from taskiq.message import TaskiqMessage
from taskiq_aio_kafka import AioKafkaBroker

from benchmarks.peers.workload import Job, Work

_TASK: Final = "handle"
_HERE: Final = "benchmarks.peers.taskiq_peer"


class RecordFormatter:
    """A record of the workload as a task."""

    def dumps(self, message: Any) -> Any:
        """Nothing is published."""
        raise NotImplementedError(message)

    def loads(self, message: bytes) -> Any:
        """A task with the record as its only argument."""
        return TaskiqMessage(task_id="", task_name=_TASK, labels={}, args=[message], kwargs={})


def make_broker() -> Any:
    """The broker of a worker; called in its process, which has the argument of ours."""
    job = Job.of_this_process()
    broker = AioKafkaBroker(bootstrap_servers=job.bootstrap, kafka_topic=job.topic_there)
    broker.configure_consumer(
        group_id=job.group_there,
        auto_offset_reset="earliest",
        auto_commit_interval_ms=job.commit_ms,
        session_timeout_ms=job.session_ms,
        heartbeat_interval_ms=job.heartbeat_ms,
        # Its default is one of kafka-python, with whose version 3 it does not start.
        partition_assignment_strategy=(RoundRobinPartitionAssignor,),
    )
    broker.formatter = RecordFormatter()
    work = Work(job.journal)

    async def handle(value: bytes) -> None:
        await work.handle(value)

    broker.register_task(handle, task_name=_TASK)
    return broker


def main() -> int:
    """Run the worker until SIGTERM, which taskiq hears itself."""
    job = Job.of_this_process()
    logging.getLogger("taskiq").setLevel(logging.WARNING)
    at_once = 1 if job.setting == "in-turn" else job.concurrency
    return (
        run_worker(
            WorkerArgs(
                broker=f"{_HERE}:make_broker",
                modules=[],
                tasks_pattern=(),
                workers=1,
                max_async_tasks=at_once,
                no_parse=True,
                configure_logging=False,
            )
        )
        or 0
    )


if __name__ == "__main__":
    sys.exit(main())
