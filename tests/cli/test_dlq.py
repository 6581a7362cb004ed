"""`lab dlq` as typed, and its pages. With servers: `tests/real/test_dlq.py`."""

import json
from collections.abc import Callable, Iterable

import msgspec
import pytest
import typer
from rich.console import RenderableType

from lab.cli import dlq, letter_pages, render
from lab.cli.app import run_command
from lab.cli.exit_codes import ExitCode
from lab.patterns.redrive import Letter, Wanted
from lab.ports.bus import Record
from lab.wiring import dead_letters

HOUR_US = 3_600_000_000


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_KAFKA_BOOTSTRAP", "127.0.0.1:9")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--group", "paymant"], "--group must be"),
        (["--reason", "bad luck"], "--reason must be"),
        (["--older-than", "yesterday"], "--older-than must be a length of time"),
        (["--name", "No Name"], "--name must be"),
        (["--set", "no.such=1"], "no.such"),
        (["--nonsense"], "--nonsense"),
        (["--order", ""], "--order is empty"),
        (["--type", " "], "--type is empty"),
        ([""], "LETTER is empty"),
    ],
)
@pytest.mark.parametrize("command", ["list", "show", "redrive", "discard"])
def test_what_is_wrong_is_named(
    command: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--yes"] if command == "discard" else []
    assert run_command(["dlq", command, *words, *more]) == ExitCode.USAGE
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list", "show", "redrive"])
def test_a_broker_that_is_not_there_is_named(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["dlq", command]) == ExitCode.NOT_READY
    assert "127.0.0.1:9" in capsys.readouterr().err


@pytest.mark.parametrize("rate", ["0", "1e-303", "1e-300", "1e300", "nan", "-1", "fast"])
def test_a_rate_that_never_ends_or_never_waits_is_refused(
    rate: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dead_letters, "letters", lambda *_: [LETTER])
    for command in ("redrive", "discard"):
        assert run_command(["dlq", command, "--yes", "--rate", rate]) == ExitCode.USAGE
        assert "--rate must be" in capsys.readouterr().err


def test_variables_of_other_commands_choose_no_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Wanted] = []
    for name in ("ORDER", "TYPE", "GROUP", "REASON", "OLDER_THAN", "LETTER", "RATE", "PORT"):
        monkeypatch.setenv(f"LAB_{name}", "7")

    def look(_: object, wanted: Wanted) -> list[Letter]:
        asked.append(wanted)
        return []

    monkeypatch.setattr(dead_letters, "letters", look)
    assert run_command(["dlq", "redrive", "--yes"]) == ExitCode.PASS
    assert asked == [Wanted()]


def test_what_is_answered_at_a_prompt_is_counted_in_the_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(
        _: object, chosen: list[Letter], *, write: Callable[[object], None], **__: object
    ) -> int:
        for one in chosen:
            write(("redriven", one.event_id))
        return len(chosen)

    monkeypatch.setattr(dead_letters, "letters", lambda *_: [LETTER])
    monkeypatch.setattr(dead_letters, "answer", answer)
    monkeypatch.setattr(dlq, "can_be_asked", lambda: True)
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: True)
    assert run_command(["dlq", "redrive", "--json"]) == ExitCode.PASS
    captured = capsys.readouterr()
    assert json.loads(captured.out)["answered"] == 1
    assert "1 in the dead-letter queues" in captured.err


@pytest.mark.parametrize("command", ["redrive", "discard"])
def test_what_somebody_else_put_there_is_shown_and_not_answered(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = msgspec.structs.replace(LETTER, is_foreign=True)
    monkeypatch.setattr(dead_letters, "letters", lambda *_: [foreign, letter("ours")])
    assert run_command(["dlq", command, "--dry-run", "--json"]) == ExitCode.PASS
    captured = capsys.readouterr()
    assert [one["letter"] for one in json.loads(captured.out)["letters"]] == ["ours"]
    assert "somebody else" in captured.err


def test_nothing_is_given_up_that_nobody_said_yes_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["dlq", "discard"]) == ExitCode.USAGE
    assert "--yes" in capsys.readouterr().err


LETTER = Letter(
    group="payment",
    record=Record(
        topic="validation",
        partition=1,
        offset=7,
        key=b"order-1",
        value=b'{"a": "\x1b[31m"}\xff',
        headers=(("ce_id", b"abc"), ("odd\n\x1b]0;name", b"\x00\xff")),
        timestamp_us=0,
    ),
    event_id="abc",
    event_type="OrderValidated",
    subject="1.1",
    reason="permanent",
    error="Permanent",
    message="line one\nline two \u202e\x1b[2J",
    attempts=3,
    redrives=1,
    starts=3,
    place="validation.payment.dlq/0/4",
    died_us=1_700_000_000_000_000,
    first_failure_us=1_699_999_999_000_000,
    failures=((1_699_999_999_000_000, "Transient", "first"),),
)
"""Of somebody who writes what they like."""


def letter(event_id: str, group: str = "payment") -> Letter:
    return msgspec.structs.replace(LETTER, event_id=event_id, group=group)


def shown(page: Iterable[RenderableType]) -> str:
    return render.to_text(page, width=100, is_plain=True)


def test_a_list_names_letters_by_beginnings_that_tell_them_apart() -> None:
    page = shown(
        letter_pages.list_page([letter("abcdefgh1"), letter("abcdefgh2", "orders")], "lab")
    )
    assert "2 in the dead-letter queues of lab: payment 1, orders 1" in page
    assert "abcdefgh1" in page
    assert "abcdefgh2" in page


def test_nothing_that_others_wrote_moves_the_cursor() -> None:
    one = msgspec.structs.replace(LETTER, event_id="abc\x1b[1m", event_type="T\x07", error="E\x9b")
    for page in (letter_pages.list_page([one], "lab"), letter_pages.show_page(one)):
        assert not {"\x1b", "\x07", "\x9b", "\u202e", "\x00"} & set(shown(page))


def test_the_whole_of_a_letter_is_in_its_json() -> None:
    document = json.loads(json.dumps(letter_pages.whole(letter("abc"), why_not="")))
    assert document["headers"][0] == ["ce_id", "abc"]
    assert document["headers"][1][1].startswith("base64:")
    assert document["value"].startswith("base64:")
    assert document["attempt_log"] == [
        {"at": "2023-11-14T22:13:19.000+00:00", "class": "Transient", "message": "first"}
    ]
    assert document["origin"] == {"topic": "validation", "partition": 1, "offset": 7}
    assert document["can_be_redriven"] is True


def test_a_mail_whose_key_is_forgotten_is_no_letter_to_send_back_unseen() -> None:
    began_us = letter("a").first_failure_us
    late = {"now_us": began_us + 25 * HOUR_US, "lifetime_us": 24 * HOUR_US}
    assert letter("a", "notification").has_outlived_keys(**late)
    # The gateway is asked first, however late.
    assert not letter("a", "payment").has_outlived_keys(**late)
    soon = {**late, "now_us": began_us + 23 * HOUR_US}
    assert not letter("a", "notification").has_outlived_keys(**soon)


def test_an_order_that_is_no_text_is_found_by_what_the_list_shows() -> None:
    for key in (b"order-1", b"\xff\xfe", b"base64", "o-\u00fc".encode()):
        record = msgspec.structs.replace(LETTER.record, key=key)
        one = msgspec.structs.replace(LETTER, record=record)
        shown_as = str(letter_pages.row(one, why_not="")["order"])
        assert letter_pages.to_bytes(shown_as) == key
        assert Wanted(key=letter_pages.to_bytes(shown_as)).takes(one)
        assert not Wanted(key=b"other").takes(one)
