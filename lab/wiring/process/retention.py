"""The job of a standing system that cuts what is old, in the relay, until the process ends.

Not here: what is old (`lab.ports.retention`), and the same as one command (`lab.wiring.standing`).
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from lab.domain.errors import LabError
from lab.ports.clock import Clock
from lab.ports.retention import Ages, RetentionStore
from lab.settings import MS, Settings

ROWS: Final = 2_000
"""Of one table, deleted by one statement."""
_REST_US: Final = 20_000
ROUNDS_MAX: Final = 10_000
"""Of one cut: what is left is cut by the next one."""


def ages_of(settings: Settings) -> Ages:
    """The ages that the policies name."""
    return Ages(
        outbox=settings.us("retention.outbox_ms"),
        inbox=settings.us("retention.inbox_ms"),
        http_keys=settings.us("retention.http_keys_ms"),
        versions=settings.us("retention.versions_ms"),
    )


def one_age(age_ms: int) -> Ages:
    """The same age for everything."""
    age_us = age_ms * MS
    return Ages(outbox=age_us, inbox=age_us, http_keys=age_us, versions=age_us)


def safe(ages: Ages, redelivery_ms: int) -> tuple[Ages, str]:
    """The ages with one of the inbox that no record on the broker outlives.

    Args:
        ages: as they were asked for.
        redelivery_ms: how old a record may be that is delivered again; 0: of any age.

    Returns:
        The ages; and a sentence if the inbox keeps more than was asked for, else "".
    """
    if not ages.inbox or 0 < redelivery_ms * MS <= ages.inbox:
        return ages, ""
    for_long = f"for {redelivery_ms / 86_400_000:.1f} days" if redelivery_ms else "for ever"
    said = (
        f"the inbox keeps what is done {for_long}: so long a record on the broker may come again; "
        '"lab migrate" gives its topics the bounds of bus.retention_ms'
    )
    return msgspec.structs.replace(ages, inbox=redelivery_ms * MS), said


async def cut_all(store: RetentionStore, ages: Ages, clock: Clock) -> Mapping[str, int]:
    """Cut all that is old, a few rows at a time; how many there were, by table.

    Raises:
        LabError: as `RetentionStore.cut`; what was cut before stays cut.
    """
    total: Counter[str] = Counter()
    for _ in range(ROUNDS_MAX):
        found = await store.cut(ages, limit=ROWS)
        total.update(found)
        if all(rows < ROWS for rows in found.values()):
            break
        await clock.sleep_us(_REST_US)
    return total


class RetentionJob:
    """Cuts at its beginning and then again and again.

    Args:
        store: with the old rows.
        clock: of the process.
        settings: policies.
        redelivery_ms: asks how old a record may be that the broker delivers again; 0: of any age.
        tell: takes one sentence about what was cut, or why it was not, with the numbers by table.
    """

    def __init__(
        self,
        store: RetentionStore,
        clock: Clock,
        settings: Settings,
        *,
        redelivery_ms: Callable[[], Awaitable[int]],
        tell: Callable[[str, Mapping[str, int]], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._ages = ages_of(settings)
        self._every_us = settings.us("retention.every_ms")
        self._redelivery_ms = redelivery_ms
        self._tell = tell

    async def run(self) -> None:
        """Until the process ends. A server that is away is asked the next time."""
        while True:
            try:
                ages, kept = safe(self._ages, await self._redelivery_ms())
                if kept:
                    self._tell(kept, {})
                found = await cut_all(self._store, ages, self._clock)
            except LabError as error:
                self._tell(f"what is old was not cut: {error}", {})
            else:
                if rows := sum(found.values()):
                    self._tell(f"{rows} old rows were cut", found)
            await self._clock.sleep_us(self._every_us)
