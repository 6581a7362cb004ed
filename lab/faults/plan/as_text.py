"""A firing as the fault that asks for it and for nothing else: for a scenario, or `--fault`.

`bus.duplicate@payment#1:2` strikes order 1 on its second visit there, whatever the coins say. Not
here: reading such a text (`lab.faults.table.spec`).
"""

from lab.faults.plan.file import Firing
from lab.faults.table.kinds import KINDS
from lab.faults.table.row import ParamType
from lab.faults.table.spec import FaultError, Value, ordinal_of, parse_fault

_LENGTHS = (ParamType.LENGTH, ParamType.SPAN, ParamType.OFFSET)


def fault_of(firing: Firing) -> str | None:
    """The text of a fault that fires exactly so; None: no text can say it."""
    if KINDS[firing.kind].is_state:
        # A provider that flaps, or limits calls, strikes by the time, or by what others call.
        return None
    text = _head(firing)
    types = {param.name: param.type for param in KINDS[firing.kind].params}
    try:
        for _ in range(len(firing.params) + 1):
            had = parse_fault(text).params
            # A word may settle another one, so they are given one by one, as far as is needed.
            wrong = [
                name
                for name in types
                if name in firing.params and not _is(had.get(name), firing.params[name])
            ]
            if not wrong:
                return text
            text += f" {wrong[0]}={_value(types[wrong[0]], firing.params[wrong[0]])}"
    except FaultError:
        pass
    return None


def _head(firing: Firing) -> str:
    if firing.is_timed:
        text = f"{firing.kind}@{firing.site} at={_seconds(firing.t_us)}"
        return f"{text} for={_seconds(firing.number('for'))}" if "for" in firing.params else text
    ordinal = ordinal_of(firing.subject)
    order = f"#{ordinal}" if ordinal else ""
    return f"{firing.kind}@{firing.site}{order}:{firing.occurrence}"


def _is(had: Value | None, wanted: int | str) -> bool:
    """Whether a fault has that value; a span may be of one length."""
    return had in (wanted, (wanted, wanted))


def _value(kind: ParamType, value: int | str) -> str:
    return _seconds(value) if kind in _LENGTHS and isinstance(value, int) else str(value)


def _seconds(us: int) -> str:
    """The shortest way to write a length exactly: 2s, 350ms, -1.5s."""
    if us % 1_000 == 0 and abs(us) < 1_000_000:
        return f"{us // 1_000}ms"
    return f"{us / 1_000_000:.6f}".rstrip("0").rstrip(".") + "s"
