"""`result.json`: the result of a run, field by field. Its JSON Schema is made from these classes.

`--json` prints exactly this, and the result page shows nothing that is not in it.
"""

from typing import Final, Literal

import msgspec

from lab.domain.json_schema import with_clean_texts
from lab.scenarios.file_tally import RefusedOrder

SCHEMA_VERSION: Final = 1

VerdictName = Literal["PASS", "FAIL", "UNKNOWN"]
Mode = Literal["simulated", "wall-clock", "real"]


class OrderCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many orders there were.

    Attributes:
        read: orders made up, or lines of the orders file.
        unreadable: lines that could not be read as an order.
        submitted: distinct intents posted; a client's retries are not counted.
        accepted: intents with an order row. accepted + refused = submitted.
        refused: intents without one.
        refused_by_reason: refused intents by reason; one intent may have several.
        by_state: orders by their state at the end.
    """

    read: int
    unreadable: int
    submitted: int
    accepted: int
    refused: int
    refused_by_reason: dict[str, int]
    by_state: dict[str, int]


class UnreadableOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the orders file that could not be read; the first ten are listed."""

    line: int
    reason: str


class OrdersRead(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of a file of orders.

    Attributes:
        rows: lines with something in them, a header left out.
        orders: those that were posted.
        unreadable: rows that were left out: all rows of an order of which one cannot be read.
        amounts: of the orders that were accepted, by currency, in minor units, as the file says.
        first_at: the earliest recorded time (RFC 3339, UTC), "" if none was read; last_at: the
            latest.
        before_predecessor: orders whose recorded time lies before that of the order above.
    """

    rows: int
    orders: int
    unreadable: int
    amounts: dict[str, int]
    first_at: str
    last_at: str
    before_predecessor: int


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """One promise: how often it was checked, and how often it was broken.

    Attributes:
        checked: how often its subject occurred; 0 makes it UNKNOWN ("not exercised").
        violations: how often it was broken.
        witness: the first violation in a sentence, "" if none.
        witness_order: ordinal of the order of that violation, or null.
        at_risk: the scenario is about it.
        expected: broken, and nobody promised that it would not: the run is beyond the contract.
    """

    name: str
    kind: Literal["safety", "liveness"]
    verdict: VerdictName
    checked: int
    violations: int
    witness: str
    witness_order: int | None
    at_risk: bool
    expected: bool = False


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of fault: how often it fired, and the first orders it hit."""

    name: str
    fired: int
    orders: tuple[int, ...]


class PatternUse(msgspec.Struct, frozen=True, kw_only=True):
    """One pattern: whether it was on, and its deeds, such as `suppressed: 96`."""

    name: str
    on: bool
    acted: dict[str, int]


class GoalResult(msgspec.Struct, frozen=True, kw_only=True):
    """One goal of the scenario: an event that had to happen, and how often it did."""

    goal: str
    reached: bool
    applicable: bool
    count: int


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """The costs of the same load without faults.

    Attributes:
        metrics: those of `Result.metrics`.
        virtual_ms: how long it took.
        digest: of that run.
    """

    metrics: dict[str, float]
    virtual_ms: int
    digest: str


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """How long it took.

    Attributes:
        wall_ms: from the first order to the last check.
        epoch: the instant (RFC 3339, UTC) at which the history's clock showed 0.
    """

    virtual_ms: int
    wall_ms: int
    epoch: str = "1970-01-01T00:00:00Z"


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """The versions that ran it."""

    lab: str
    python: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        input: what was read of a file of orders; null if they were made up.
        refused_orders: the first ten orders of a file that the API refused, and why.
        beyond_contract: faults and policies that the design does not promise to survive.
        notes: facts that a reader of the faults should know.
        without_faults: costs of the same load if nothing goes wrong; null if it was not run.
        kept: name of the things that `--keep` left on the servers: the schema, the prefix of the
            keys, and with `-` for `_` that of the topics and groups.
    """

    schema_version: int
    scenario: str
    summary: str
    mode: Mode
    bus: str
    store: str
    dedupe: str
    seed: int
    off: tuple[str, ...]
    beyond_contract: tuple[str, ...] = ()
    verdict: VerdictName
    why: str
    partial: bool
    orders: OrderCounts
    unreadable_lines: tuple[UnreadableOrder, ...]
    input: OrdersRead | None = None
    refused_orders: tuple[RefusedOrder, ...] = ()
    checks: tuple[CheckResult, ...]
    not_exercised: tuple[str, ...]
    faults: tuple[Fault, ...]
    notes: tuple[str, ...] = ()
    patterns: tuple[PatternUse, ...]
    goals: tuple[GoalResult, ...]
    metrics: dict[str, float]
    without_faults: Costs | None = None
    time: Times
    history_entries: int
    digest: str
    reproduce: str
    next: tuple[str, ...]
    settings_profile: str
    settings: dict[str, int | float | str | tuple[int, ...]]
    options: dict[str, str | int | float | bool | list[str] | None]
    run_dir: str | None
    kept: str | None = None
    versions: Versions


def encode_result(result: Result) -> bytes:
    """`result.json`: one JSON object, indented, with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"


def result_schema() -> bytes:
    """The JSON Schema of `result.json`."""
    schema = with_clean_texts(msgspec.json.schema(Result))
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"lab result, schema_version {SCHEMA_VERSION}",
        **schema,
    }
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"
