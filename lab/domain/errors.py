"""Errors by their remedy. Adapters map vendor errors to these at their edge.

    LabError
    ├── Transient        may pass later: back off, counts as an attempt
    │   └── Replayed     an old failure, given again under its key: other keys are fine
    ├── Throttled        not before the hint, counts as no attempt
    ├── Down             the dependency is known to be down: release, pause
    ├── Indeterminate    may or may not have happened: same key, then look
    ├── Permanent        never will: dead letter
    │   └── TooLarge     a record over the topic's limit
    ├── Poison           the record itself is bad: dead letter
    ├── Fenced           an epoch or a lease was lost: release
    ├── AlreadyDone      another run of the same event committed first: follow it
    ├── AlreadyDead      the event was committed as dead: follow it
    └── Unclassified     a handler raised something that no class fits: a few attempts, dead letter

    EnvironmentNotReady  a server is missing or not fit for use: nothing was started

Outcomes (declined, rejected, refused) are not errors: they are events. A broken promise is not an
error either: it is a finding of a check.
"""


class LabError(Exception):
    """Root of the tree.

    Attributes:
        dependency: the one in trouble (a provider, a store), "" if it is unknown.
    """

    dependency: str = ""


class Transient(LabError):
    """It certainly did not happen, or repeating it is harmless, and it may pass later."""


class Replayed(Transient):
    """The failure that a provider stored under the request's key. It says nothing about today."""


class Throttled(LabError):
    """The other side asked to come back not before `after_us` microseconds from now."""

    def __init__(self, message: str, *, after_us: int) -> None:
        super().__init__(message)
        self.after_us = after_us


class Down(LabError):
    """A dependency is known to be down; nobody should call it for `after_us` microseconds."""

    def __init__(self, message: str, *, dependency: str, after_us: int) -> None:
        super().__init__(message)
        self.dependency = dependency
        self.after_us = after_us


class Indeterminate(LabError):
    """The answer was lost after the request was handed over: it may or may not have happened."""


class Permanent(LabError):
    """It did not happen and never will, however often it is repeated."""


class TooLarge(Permanent):
    """A record exceeds the limit of its topic."""


class Poison(LabError):
    """The record cannot be handled by anybody: undecodable, of unknown type, or a killer."""


class Fenced(LabError):
    """The epoch or lease under which the work was started belongs to somebody else by now."""


class AlreadyDone(LabError):
    """The event has a committed `done` outcome; the caller's unit was rolled back."""


class AlreadyDead(LabError):
    """The event is `dead` at these or more redrives; the unit was rolled back."""


class Unclassified(LabError):
    """A handler raised something else, which is a bug of its own; `kind` is the class's name."""

    def __init__(self, message: str, *, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class EnvironmentNotReady(Exception):
    """A server that a run needs is missing, unreachable, too old, forbidden, or set up otherwise.

    Raised before anything is started. It is no `LabError`: no delivery can be settled by it.

    Attributes:
        what: its defect, in words.
        server: its name, such as `Kafka`.
        address: `host:port`, without a user or a password; "" if it has none.
        remedy: the command, or the one sentence, that helps.
    """

    def __init__(self, what: str, *, server: str, address: str, remedy: str) -> None:
        where = f" at {address}" if address else ""
        super().__init__(f"{server}{where}: {what}; {remedy}")
        self.what = what
        self.server = server
        self.address = address
        self.remedy = remedy
