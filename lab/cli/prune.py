"""`lab prune`: cuts what a standing system need not keep, once; its relay does so by itself.

Not here: the cutting (`lab.wiring.standing`).
"""

from typing import Annotated

import typer

from lab.cli import one_process, options
from lab.cli.exit_codes import ExitCode
from lab.cli.flag_values import FlagValues
from lab.cli.output import print_message, print_result


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
    rows, kept = standing.prune(
        one_process.system(name, set_),
        older_than_ms=values.length_ms("older-than", older_than),
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
