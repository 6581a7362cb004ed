"""`lab prune`: cuts what a standing system need not keep, once; its relay does so by itself.

Not here: the cutting (`lab.wiring.standing`).
"""

import re
from typing import Annotated, Final

import typer

from lab.cli import one_process, options
from lab.cli.exit_codes import ExitCode
from lab.cli.flag_values import FlagValues, OptionError
from lab.cli.output import print_message, print_result

_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DAYS_MAX: Final = 36_500


def prune(
    *,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="TIME",
            help="One age for everything, such as 7d or 12h.  [the policies retention.*]",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be cut, and cut nothing.")
    ] = False,
    name: one_process.Name = None,
    set_: options.Set = None,
    json: options.Json = False,
) -> int:
    """Cut old rows of a standing system: published events, done outcomes, answers, versions.

    Orders and what is owed or dead are never cut, and the inbox keeps what may be delivered again.
    The servers are those of LAB_POSTGRES_DSN and LAB_KAFKA_BOOTSTRAP; the processes may go on.

    Exit code: 0 done, 2 wrong usage, 4 a server is not there, or there is no such system.
    """
    from lab.wiring import standing

    values = FlagValues()
    is_dry = values.switch("dry-run", flag=dry_run)
    is_json = values.switch("json", flag=json)
    flags = one_process.ProcessFlags(host=None, port=None, name=name, set_=set_)
    rows, kept = standing.prune(
        one_process.assigned("relay", "relay", flags),
        older_than_ms=_length_ms(values.text("older-than", older_than)),
        is_dry=is_dry,
    )
    if kept:
        print_message(f"lab: {kept}")
    if is_json:
        import msgspec

        print_result(msgspec.json.encode({"dry_run": is_dry, "rows": rows}) + b"\n")
    else:
        done = "would be cut" if is_dry else "cut"
        print_result("".join(f"{table}: {count} rows {done}\n" for table, count in rows.items()))
    return ExitCode.PASS


def _length_ms(text: str | None) -> int | None:
    """A length of time in milliseconds; None if none was given."""
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text.strip())
    length_ms = int(found[1]) * _UNITS_MS[found[2]] if found else 0
    if not 0 < length_ms <= _DAYS_MAX * _UNITS_MS["d"]:
        raise OptionError(
            f"--older-than must be a length of time such as 7d, 12h, 30m or 90s, not {text!r}"
        )
    return length_ms
