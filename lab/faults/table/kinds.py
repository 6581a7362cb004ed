"""The table of fault kinds: for each its effect, its sites and its parameters.

`lab list --faults` prints it. A new kind is a row in the file of its family, and an injector.

Not here: the way to write a fault (`spec.py`).
"""

from collections.abc import Mapping
from typing import Final

from lab.faults.table.bus import BUS_ROWS
from lab.faults.table.client import CLIENT_ROWS
from lab.faults.table.clock import CLOCK_ROWS
from lab.faults.table.processes import PROCESSES_ROWS
from lab.faults.table.providers import PROVIDERS_ROWS
from lab.faults.table.row import FaultKind
from lab.faults.table.stores import STORES_ROWS

_ROWS: Final = (
    *BUS_ROWS,
    *PROVIDERS_ROWS,
    *PROCESSES_ROWS,
    *STORES_ROWS,
    *CLOCK_ROWS,
    *CLIENT_ROWS,
)

KINDS: Final[Mapping[str, FaultKind]] = {row.name: row for row in _ROWS}
"""Every fault that can be asked for, in the order in which it is printed."""
