"""Faults of Redis and PostgreSQL, as their clients see them. Their rows of the fault table.

Not here: the injectors.
"""

from typing import Final

from lab.faults.rows import FaultKind

STORES_ROWS: Final[tuple[FaultKind, ...]] = ()
