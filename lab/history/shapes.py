"""The same entries as types: what stands at which place of the tuple of each kind.

For those who read entries fast and by position. Names and meanings stand in `entries`; a test holds
the two against each other. Not here: kinds that nobody reads by position.
"""

Head = tuple[str, int, str, str]

Row = tuple[str, int, str, str, int, str, str, str, str, int]
Outcome = tuple[str, int, str, str, str, str, str, int]
Intent = tuple[str, int, str, str, str, str, int, str, int, str]
Revenue = tuple[str, int, str, str, str, str, str, int]
HttpKey = tuple[str, int, str, str, str, str, int]
Waiting = tuple[str, int, str, str, str, str, str, bool]
Appended = tuple[str, int, str, str, str, int, int, str, str, str, int]
Committed = tuple[str, int, str, str, str, str, int, int, int, bool]
Ledger = tuple[str, int, str, str, str, str, str, str, int, str]
Fault = tuple[str, int, str, str, str, str, int, int]
FaultEnd = tuple[str, int, str, str, str, str]
Phase = tuple[str, int, str, str, str]
LifeEvent = tuple[str, int, str, str, str]
Left = tuple[str, int, str, str, str, int]

HttpBegin = tuple[str, int, str, str, str, str, str, int]
HttpEnd = tuple[str, int, str, str, str, str, str, int, int, str, str]
Deliver = tuple[str, int, str, str, str, str, int, int, int, str, str, int]
Settle = tuple[str, int, str, str, str, str, int, int, int, str, str, str, int]
HandleBegin = tuple[str, int, str, str, str, str, str, int, int, int, str]
HandleEnd = tuple[str, int, str, str, str, str, str, int, str]
CommitBegin = tuple[str, int, str, str, str, str, bool]
CommitEnd = tuple[str, int, str, str, str, str, bool, str]
CallBegin = tuple[str, int, str, str, str, str, str, int]
CallEnd = tuple[str, int, str, str, str, str, str, str, int, int, int]
Claim = tuple[str, int, str, str, str, str, str, int]
Complete = tuple[str, int, str, str, str, str, int, bool]
Retrying = tuple[str, int, str, str, str, str, int, str, str, int]
Buried = tuple[str, int, str, str, str, str, str, int, int, int]
Redriven = tuple[str, int, str, str, str, str, str, int]
Position = tuple[str, int, str, str, str, str, int, int, int]
Held = tuple[str, int, str, str, str, int]
Admitted = tuple[str, int, str, str, int]
Owned = tuple[str, int, str, str, str, int, object]
Paused = tuple[str, int, str, str, str, str, int]
Breaker = tuple[str, int, str, str, str, str]
Drained = tuple[str, int, str, str, str, int, int, int]
Acted = tuple[str, int, str, str, str, str]
Stalled = tuple[str, int, str, str, int]

SHAPES: dict[str, object] = {
    "row": Row,
    "outcome": Outcome,
    "intent": Intent,
    "revenue": Revenue,
    "http_key": HttpKey,
    "waiting": Waiting,
    "appended": Appended,
    "committed": Committed,
    "ledger": Ledger,
    "fault": Fault,
    "fault_end": FaultEnd,
    "phase": Phase,
    "life": LifeEvent,
    "left": Left,
    "http.begin": HttpBegin,
    "http.end": HttpEnd,
    "deliver": Deliver,
    "settle": Settle,
    "handle.begin": HandleBegin,
    "handle.end": HandleEnd,
    "commit.begin": CommitBegin,
    "commit.end": CommitEnd,
    "call.begin": CallBegin,
    "call.end": CallEnd,
    "claim": Claim,
    "complete": Complete,
    "retrying": Retrying,
    "buried": Buried,
    "redriven": Redriven,
    "position": Position,
    "held": Held,
    "admitted": Admitted,
    "owned": Owned,
    "revoked": Owned,
    "paused": Paused,
    "breaker": Breaker,
    "drained": Drained,
    "acted": Acted,
    "stalled": Stalled,
}
"""The type of each kind that is read by position."""
