"""`lab dlq`: looks into the dead-letter queues of a system on a Kafka, and answers their letters.

Not here: what is sent (`lab.patterns.redrive`), the queues (`lab.wiring.dead_letters`), and how a
letter is shown (`letter_pages`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lab.cli import one_process, options
from lab.cli.exit_codes import ExitCode
from lab.cli.flag_values import FlagValues, OptionError
from lab.cli.output import can_be_asked, print_message, print_result
from lab.cli.stopping import ended_as_by_ctrl_c

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lab.history.entries import Entry
    from lab.patterns.redrive import Letter
    from lab.wiring.worlds.assignment import Assignment

_CHOICES_MAX: Final = 10
_RATES: Final = (0.01, 10_000.0)
_FOREIGN: Final = "somebody else put them there, and they do not say where they came from"

LetterId = Annotated[
    str | None,
    typer.Argument(
        metavar="LETTER",
        help="The id of its event, or how that begins.  [all that the flags allow]",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Rate = Annotated[
    str | None, typer.Option("--rate", metavar="N", help="So many a second at most.  [10]")
]

app: Final = typer.Typer(
    help="Look into dead-letter queues, and send letters back to the one group that failed.",
    rich_markup_mode=None,
)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LetterFlags(options.Flags):
    """The flags that say which letters are meant, and how they are shown."""

    letter: LetterId = None
    group: Annotated[
        str | None, typer.Option("--group", metavar="GROUP", help="Of this group.  [any]")
    ] = None
    reason: Annotated[
        str | None,
        typer.Option(
            "--reason",
            metavar="REASON",
            help="poison, permanent, exhausted, starts, expired or repeated.  [any]",
        ),
    ] = None
    type_: Annotated[
        str | None,
        typer.Option("--type", metavar="TYPE", help="Of this type, as OrderValidated.  [any]"),
    ] = None
    order: Annotated[
        str | None, typer.Option("--order", metavar="ID", help="Of this order.  [any]")
    ] = None
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="TIME", help="Dead for longer, as 12h.  [any]"),
    ] = None
    name: one_process.Name = None
    set_: options.Set = None
    json: options.Json = False
    no_color: options.NoColor = False


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ListLetters(LetterFlags):
    """List the dead letters that nobody has answered.

    The broker is that of LAB_KAFKA_BOOTSTRAP. A run that was kept is named with --name, by the name
    that its page says. An event that died again is listed once, with its last letter.

    Exit code: 0 listed, 2 wrong usage, 4 the broker is not there, or has no such system.
    """

    def execute(self) -> int:
        from lab.cli import letter_pages

        desk = _Desk(self)
        found = desk.letters()
        desk.show(desk.rows(found), letter_pages.list_page(found, desk.system))
        return ExitCode.PASS


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ShowLetter(LetterFlags):
    """Show one dead letter whole: why it died, its attempts, its headers, its value.

    Exit code: 0 shown, 2 wrong usage, or no letter is meant, or several are; 4 as `lab dlq list`.
    """

    def execute(self) -> int:
        from lab.cli import letter_pages

        desk = _Desk(self)
        one = _the_one(desk.letters())
        whole = letter_pages.whole(one, why_not=desk.why_not(one))
        desk.show(whole, letter_pages.show_page(one))
        return ExitCode.PASS


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RedriveLetters(LetterFlags):
    """Send dead letters back to the one group that failed, once the cause was mended.

    They are shown first, and it is asked; without a terminal nothing is sent unless --yes was
    given. Each goes with fresh attempts, three times at most. A worker asks the gateway about money
    before it sends anything; a mailer cannot be asked, so a mail whose key nobody remembers any
    more goes only with --reconciled. Sent back twice at once, it has its effect once.

    Exit code: 0 they were sent, or would be; 2 wrong usage, or none of them may be sent; 4 as
    `lab dlq list`.
    """

    rate: Rate = None
    reconciled: Annotated[
        bool,
        typer.Option(
            "--reconciled", help="Somebody has seen that those old mails were never sent."
        ),
    ] = False
    dry_run: DryRun = False
    yes: Yes = False

    def execute(self) -> int:
        desk = _Desk(self)
        found = desk.letters()

        def why_not(letter: "Letter") -> str:
            return desk.why_not(letter, is_reconciled=self.reconciled)

        going = _without(found, why_not)
        if found and not going:
            raise OptionError("none of these letters may be sent back")
        return _answer(
            desk,
            going,
            rate=desk.rate(self.rate),
            is_dry=self.dry_run,
            is_sure=self.yes,
            may_go=lambda one: not why_not(one),
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DiscardLetters(LetterFlags):
    """Give dead letters up: their events stay dead, and events of the same order go on.

    They are shown first, and it is asked; without a terminal --yes is wanted.

    Exit code: 0 they were given up, or would be; 2 wrong usage; 4 as `lab dlq list`.
    """

    rate: Rate = None
    dry_run: DryRun = False
    yes: Yes = False

    def execute(self) -> int:
        desk = _Desk(self)
        if not (self.dry_run or self.yes or can_be_asked()):
            raise OptionError("what is given up is not sent back: --yes, or --dry-run to look")
        return _answer(
            desk,
            _without(desk.letters(), lambda one: _FOREIGN if one.is_foreign else ""),
            rate=desk.rate(self.rate),
            is_dry=self.dry_run,
            is_sure=self.yes,
            is_discard=True,
        )


app.command("list")(ListLetters)
app.command("show")(ShowLetter)
app.command("redrive")(RedriveLetters)
app.command("discard")(DiscardLetters)


class _Desk:
    """Who looks into the queues: the letters that flags mean, and a place to show them.

    Raises:
        OptionError: a flag is wrong.
    """

    def __init__(self, flags: LetterFlags) -> None:
        self.assignment: Assignment = one_process.system(flags.name, flags.set_)
        self.assignment.check()
        display = FlagValues()
        self._flags = flags
        # A variable of another command must not choose the letters that are answered.
        self._values = FlagValues(has_variables=False)
        self._is_json = display.switch("json", flag=flags.json)
        self._is_plain = display.switch("no-color", flag=flags.no_color)

    @property
    def system(self) -> str:
        """Its name."""
        return self.assignment.name

    def letters(self) -> "list[Letter]":
        """The unanswered letters that are meant.

        Raises:
            OptionError: a flag is wrong.
            EnvironmentNotReady: the broker is not there, or has no such system.
        """
        from lab.cli.letter_pages import to_bytes
        from lab.domain.events import READS
        from lab.patterns.redrive import REASONS, Wanted
        from lab.wiring import dead_letters

        flags, values = self._flags, self._values
        older_ms = values.length_ms("older-than", flags.older_than)
        begins = flags.letter
        if begins is not None and not begins.strip():
            raise OptionError("LETTER is empty: name one, or leave it out for all of them")
        wanted = Wanted(
            reason=values.word("reason", flags.reason, REASONS) or "",
            event_type=values.filled("type", flags.type_) or "",
            group=values.word("group", flags.group, tuple(READS)) or "",
            key=to_bytes(values.filled("order", flags.order) or ""),
            begins=begins or "",
            died_before_us=0 if older_ms is None else dead_letters.now_us() - older_ms * 1_000,
        )
        found = dead_letters.letters(self.assignment, wanted)
        same = [one for one in found if one.event_id == begins]
        if begins and not found:
            raise OptionError(
                f"no unanswered dead letter begins with {begins!r} (see: lab dlq list)"
            )
        if begins and len({one.event_id for one in same or found}) > 1:
            raise OptionError(f"{begins!r} may be {_few(found)}: write more of it")
        return same or found

    def rate(self, flag: str | None) -> float:
        """Letters a second.

        Raises:
            OptionError: it is no such rate.
        """
        from lab.wiring import dead_letters

        return self._values.number_between("rate", flag, _RATES) or dead_letters.RATE

    def why_not(self, letter: "Letter", *, is_reconciled: bool = False) -> str:
        """Why a letter may not be sent back now; "" if it may."""
        from lab.patterns.redrive import REDRIVES_MAX
        from lab.wiring import dead_letters

        lifetime_us = self.assignment.policies().us("provider_key.lifetime_ms")
        if letter.is_foreign:
            return _FOREIGN
        if letter.is_cut:
            return "the queue took a part of them only; they can be discarded"
        if letter.is_spent:
            return f"sent back {REDRIVES_MAX} times before; they can be discarded"
        if not is_reconciled and letter.has_outlived_keys(
            now_us=dead_letters.now_us(), lifetime_us=lifetime_us
        ):
            return (
                "the mailer has forgotten their keys (provider_key.lifetime_ms), and would send "
                "again what it has sent: see, then --reconciled"
            )
        return ""

    def rows(self, letters: "Iterable[Letter]") -> "list[Mapping[str, object]]":
        """Letters as a JSON array holds them."""
        from lab.cli import letter_pages

        return [letter_pages.row(one, why_not=self.why_not(one)) for one in letters]

    def tell(self, page: "Iterable[RenderableType]") -> None:
        """Show something before a question, beside the result."""
        from lab.cli import render

        width = render.width_of_output()
        print_message(render.to_text(page, width=width, is_plain=True).rstrip("\n"))

    def show(self, document: object, page: "Iterable[RenderableType]") -> None:
        """Print one or the other."""
        from lab.cli import render

        if self._is_json:
            from msgspec import json

            print_result(json.format(json.encode(document), indent=2) + b"\n")
            return
        width = render.width_of_output()
        print_result(render.to_text(page, width=width, is_plain=self._is_plain))


def _answer(
    desk: _Desk,
    going: "Sequence[Letter]",
    *,
    rate: float,
    is_dry: bool,
    is_sure: bool,
    is_discard: bool = False,
    may_go: "Callable[[Letter], bool]" = lambda _: True,
) -> int:
    """Send letters back, or give them up, after a question; the exit code."""
    from lab.cli import letter_pages
    from lab.wiring import dead_letters

    does, did = ("give up", "given up") if is_discard else ("send back", "sent back")
    page = list(letter_pages.list_page(going, desk.system))
    if going and not (is_dry or is_sure):
        if can_be_asked():
            desk.tell(page)
            if not typer.confirm(f"{does.capitalize()} {_many(len(going))}?", err=True):
                print_message("lab: nothing was sent")
                is_dry = True
        else:
            print_message("lab: nothing was sent: --yes does it")
            is_dry = True
    if is_dry or not going:
        desk.show({"letters": desk.rows(going), "answered": 0}, page)
        return ExitCode.PASS
    rows = desk.rows(going)
    sent: list[Entry] = []
    try:
        with ended_as_by_ctrl_c():
            dead_letters.answer(
                desk.assignment,
                going,
                is_discard=is_discard,
                rate=rate,
                write=sent.append,
                may_go=may_go,
            )
    finally:
        if len(sent) < len(going):
            print_message(
                f"lab: {len(going) - len(sent)} of {_many(len(going))} were not {did} by this "
                "command: lab dlq list says which are left"
            )
        desk.show({"letters": rows, "answered": len(sent)}, [f"{_many(len(sent))} {did}"])
    return ExitCode.PASS


def _without(letters: "Sequence[Letter]", why_not: "Callable[[Letter], str]") -> "list[Letter]":
    """The letters that may go; of the others it is said why they stay."""
    left: dict[str, list[Letter]] = {}
    for one in letters:
        left.setdefault(why_not(one), []).append(one)
    going = left.pop("", [])
    for why, some in left.items():
        print_message(f"lab: {len(some)} stay: {why} ({_few(some)})")
    return going


def _the_one(found: "Sequence[Letter]") -> "Letter":
    if len(found) == 1:
        return found[0]
    if not found:
        raise OptionError("there is no such dead letter (see: lab dlq list)")
    more = "say which --group" if len({one.event_id for one in found}) == 1 else "name one"
    raise OptionError(f"{_many(len(found))} are meant, {_few(found)}: {more}")


def _few(letters: "Sequence[Letter]") -> str:
    """The ids of some letters, in words."""
    from lab.cli.letter_pages import legible

    names = ", ".join(legible(f"{one.event_id} of {one.group}") for one in letters[:_CHOICES_MAX])
    more = len(letters) - _CHOICES_MAX
    return names if more <= 0 else f"{names}, and {more} more"


def _many(count: int) -> str:
    return f"{count} dead letter" + ("" if count == 1 else "s")
