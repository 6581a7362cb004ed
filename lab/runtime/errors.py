"""Errors of the simulator itself. Each of them ends the run: they are bugs, not faults.

    SimulationError       a callback failed, or the simulator was used wrongly
    ├── DeadlockError     nothing can run, and the main coroutine is not done
    ├── LivelockError     endless work at one virtual instant
    ├── TimeLimitError    virtual time would pass the limit of the run
    └── RealIOError       real I/O, a thread or the wall clock was touched

Not here: errors of the simulated world (`lab.domain.errors`), which handlers see.
"""


class SimulationError(Exception):
    """The simulation cannot go on."""


class DeadlockError(SimulationError):
    """Nothing is runnable and no timer is left; the message names every waiting task."""


class LivelockError(SimulationError):
    """Tasks keep waking each other while virtual time stands still."""


class TimeLimitError(SimulationError):
    """The next timer lies behind the run's limit."""


class RealIOError(SimulationError):
    """The simulated world must not touch the real one; the message names the call and the remedy.

    Raised at the call, and again by `Scheduler.run`: a handler that swallows it hides nothing.
    """
