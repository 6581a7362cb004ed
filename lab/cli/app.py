"""The command `lab`: its commands, and an exit code for everything that goes wrong.

Not here: the commands themselves, one file each. Their heavy imports wait until they run.
"""

import shlex
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from lab import __version__
from lab.cli import (
    ablate,
    bench,
    chaos,
    clean,
    dlq,
    doctor,
    down,
    explain,
    list_,
    migrate,
    prove,
    providers,
    prune,
    relay,
    replay,
    report,
    run,
    search,
    serve,
    ship,
    shrink,
    status,
    up,
    work,
)
from lab.cli.exit_codes import ExitCode
from lab.cli.options import Flags
from lab.cli.output import print_message, print_result

WELCOME: Final = """\
lab breaks an event-driven order system on purpose and says which promises held. Try:

  lab run happy-path                           nothing goes wrong
  lab run duplicates --off dedupe,inbox        the same failure without its remedy
  lab list                                     everything that can go wrong here

All commands: lab --help
"""

USAGE_ERRORS: Final = frozenset(
    (
        "lab.bench.comparing.CompareError",
        "lab.bench.parts.OnlyError",
        "lab.bench.thresholds.ThresholdError",
        "lab.checks.verdict.GoalError",
        "lab.cli.flag_values.OptionError",
        "lab.cli.output.OutputError",
        "lab.explore.proving.ProveError",
        "lab.explore.search.SearchError",
        "lab.explore.shrinking.ShrinkError",
        "lab.faults.table.spec.FaultError",
        "lab.faults.plan.file.PlanError",
        "lab.report.kept_runs.RunNameError",
        "lab.report.run_folder.RunFolderError",
        "lab.scenarios.loader.ScenarioError",
        "lab.history.history_reader.HistoryError",
        "lab.scenarios.orders_lines.OrdersFileError",
        "lab.settings.SettingError",
        "lab.wiring.stories.StoryError",
    )
)
"""Mistakes of the user, by name: their modules need not be imported before one is raised."""

NOT_READY_ERROR: Final = "lab.domain.errors.EnvironmentNotReady"
"""A server, or another program of this machine, that is not fit for use; nothing was started."""


def _execute(done: int | Flags, **_options: object) -> int:
    """The exit code of a command. Of a class of flags typer has made an object and no more."""
    return done.execute() if isinstance(done, Flags) else done


app: Final = typer.Typer(
    name="lab",
    result_callback=_execute,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("list")(list_.list_)
app.command("run")(run.Run)
app.command("chaos")(chaos.Chaos)
app.command("bench")(bench.bench)
app.command("search")(search.Search)
app.command("prove")(prove.Prove)
app.command("ablate")(ablate.Ablate)
app.command("shrink")(shrink.shrink)
app.command("explain")(explain.explain)
app.command("replay")(replay.replay)
app.command("report")(report.report)
app.command("ship")(ship.ship)
app.command("serve")(serve.serve)
app.command("relay")(relay.relay)
app.command("work")(work.work)
app.command("providers")(providers.providers)
app.add_typer(dlq.app, name="dlq")
app.command("migrate")(migrate.migrate)
app.command("prune")(prune.prune)
app.command("clean")(clean.clean)
app.command("up")(up.up)
app.command("down")(down.down)
app.command("status")(status.status)
app.command("doctor")(doctor.doctor)


def _show_version(is_asked: bool) -> None:  # noqa: FBT001 - typer calls it so
    if is_asked:
        print_result(f"lab {__version__}\n")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def lab(
    context: typer.Context,
    *,
    version: Annotated[  # noqa: ARG001 - handled before anything else
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> int:
    """Break an event-driven order system on purpose, and read which promises held."""
    if context.invoked_subcommand is None:
        print_result(WELCOME)
    return ExitCode.PASS


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code, and lets no exception out."""
    try:
        code = app(
            None if arguments is None else list(arguments), prog_name="lab", standalone_mode=False
        )
        if code == ExitCode.INTERRUPTED:
            print_message("lab: interrupted")
        return int(code or 0)
    except typer.TyperException as bad:
        return _usage(bad.format_message(), getattr(bad, "ctx", None))
    except (KeyboardInterrupt, typer.Abort):
        print_message("lab: interrupted")
        return ExitCode.INTERRUPTED
    except Exception as bad:  # noqa: BLE001 - the last resort of the command line
        names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(bad).__mro__}
        if names & USAGE_ERRORS:
            return _usage(str(bad), None)
        if NOT_READY_ERROR in names:
            print_message(f"lab: {' '.join(str(bad).split())}")
            return ExitCode.NOT_READY
        return _bug(bad)


def _usage(message: str, context: typer.Context | None) -> int:
    see = f" (see: {context.command_path} --help)" if context is not None else ""
    print_message(f"lab: {message.strip()}{see}")
    return ExitCode.USAGE


def _bug(bad: Exception) -> int:
    """One line, and how to get more; a traceback helps only those that ask for it."""
    from lab.settings import environment

    if environment().get("DEBUG"):
        traceback.print_exception(bad)
    error = f"{type(bad).__name__}: {bad}".splitlines()[0]
    print_message(
        f"lab: a mistake of the lab itself, not yours: {error}. Please report it with this command "
        f"and its output under LAB_DEBUG=1: {shlex.join(['lab', *sys.argv[1:]])}"
    )
    return ExitCode.BUG
