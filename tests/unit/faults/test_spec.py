"""The grammar of faults: what is read, and what is refused with which remedy."""

import pytest

from lab.faults.processes.crash_sites import HOOKS
from lab.faults.table.crash_points import ANY, CRASH_POINTS, MID_DRAIN
from lab.faults.table.kinds import KINDS
from lab.faults.table.row import PROVIDERS
from lab.faults.table.spec import FaultError, Subjects, ordinal_of, parse_fault


def test_every_part_of_a_fault_is_read() -> None:
    spec = parse_fault(
        "svc.error@mailer#1-20 first=2 rate=0.5 max=9 status=500 stored=yes at=10s for=1m"
    )

    assert (spec.kind, spec.sites) == ("svc.error", ("mailer",))
    assert spec.subjects == Subjects(low=1, high=20)
    assert (spec.first, spec.rate, spec.max_firings) == (2, 0.5, 9)
    assert (spec.at_us, spec.until_us) == (10_000_000, 70_000_000)
    assert spec.params == {"status": 500, "stored": "yes", "done": "no", "after": 0}


def test_a_fault_without_site_strikes_everywhere_it_can() -> None:
    assert parse_fault("svc.timeout rate=0.1").sites == PROVIDERS
    assert parse_fault("proc.crash rate=0.1").sites == (ANY,)


def test_an_occurrence_is_the_same_as_nth() -> None:
    assert parse_fault("proc.crash@relay.after_publish#7:2").nth == 2
    assert parse_fault("proc.crash@relay.after_publish#7 nth=2").nth == 2


def test_a_fault_that_counts_nothing_strikes_the_first_visit() -> None:
    assert parse_fault("bus.duplicate#7").nth == 1


def test_a_fault_that_counts_nothing_strikes_every_visit_of_its_window() -> None:
    spec = parse_fault("svc.error at=10s for=60s")

    assert (spec.nth, spec.rate) == (0, 1.0)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [("#7", [7]), ("#1-3", [1, 2, 3]), ("#every25", [25, 50])],
)
def test_orders_are_chosen_by_ordinal(text: str, chosen: list[int]) -> None:
    subjects = parse_fault(f"bus.duplicate{text}").subjects

    assert subjects is not None
    assert [n for n in range(1, 60) if subjects.chooses(n)] == chosen


def test_a_process_is_struck_at_a_time() -> None:
    spec = parse_fault("proc.term@payment at=2s")

    assert (spec.process, spec.at_us, spec.is_timed) == ("payment", 2_000_000, True)
    assert parse_fault("proc.crash@payment-2 at=500ms").process == "payment-2"


@pytest.mark.parametrize(
    ("text", "struck"),
    [
        ("proc.pause@payment-2 at=2s for=60s", ("payment-2", 2_000_000, 62_000_000)),
        ("proc.pause@api for=3s", ("api", 0, 3_000_000)),
        ("bus.down at=1m for=30s", ("broker", 60_000_000, 90_000_000)),
        ("bus.down@broker for=30s", ("broker", 0, 30_000_000)),
    ],
)
def test_what_lasts_has_a_begin_and_an_end(text: str, struck: tuple[str, int, int]) -> None:
    spec = parse_fault(text)

    assert (spec.process, spec.at_us, spec.until_us) == struck
    assert (spec.is_timed, spec.sites) == (True, ())


def test_a_pause_with_a_rate_strikes_deliveries() -> None:
    spec = parse_fault("proc.pause@payment rate=0.1 by=60s at=2s for=3s")

    assert (spec.is_timed, spec.sites, spec.params) == (False, ("payment",), {"by": 60_000_000})
    assert (spec.at_us, spec.until_us) == (2_000_000, 5_000_000)


def test_a_crash_point_with_a_time_is_a_window_not_a_process() -> None:
    spec = parse_fault("proc.crash@handler.after_commit at=2s for=3s")

    assert (spec.is_timed, spec.sites) == (False, ("handler.after_commit",))


def test_a_span_of_time_is_kept_as_two_ends() -> None:
    assert parse_fault("client.cancel after=50ms..400ms").params["after"] == (50_000, 400_000)
    assert parse_fault("client.cancel after=50ms").params["after"] == (50_000, 50_000)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not of the form"),
        ("bus.duplicate@", "not of the form"),
        ("bus.dupicate rate=0.2", "did you mean bus.duplicate?"),
        ("redis.dwn at=3s", "did you mean redis.down?"),
        ("bus.duplicate rate", "not of the form key=value"),
        ("bus.duplicate rte=0.2", "did you mean rate?"),
        ("bus.duplicate rate=0.2 rate=0.3", "given twice"),
        ("bus.duplicate rate=1.5", "from 0 to 1, not '1.5'"),
        ("bus.duplicate rate=nan", "from 0 to 1"),
        ("bus.duplicate rate=-0.1", "from 0 to 1"),
        ("bus.duplicate first=0", "whole number from 1, not '0'"),
        ("bus.duplicate first=2 nth=3", "contradict each other"),
        ("bus.duplicate:2 nth=3", "leave one out"),
        ("bus.duplicate#seven", "write #7, #1-20 or #every25"),
        ("bus.duplicate#9-3", "write #7, #1-20 or #every25"),
        ("bus.duplicate@paymnt rate=1", "did you mean payment?"),
        ("svc.error@mailer at=10", "30s or 500ms, not '10'"),
        ("svc.error status=200", "status must be one of 400, 401"),
        ("svc.error stored=maybe", "stored must be one of yes, no"),
        ("svc.error status=429 stored=yes", "stored=yes contradicts status=429"),
        ("svc.error status=500 after=2s", "after=2s means nothing for status=500"),
        ("svc.error status=401 after=2s", "leave it out, or take status 409, 429, 503"),
        ("svc.timeout status=500", "unknown key 'status'"),
        ("svc.hang_after_effect@warehouse rate=1", "unknown site 'warehouse'"),
        ("client.cancel after=9s..1s", "ends before it begins"),
        ("proc.crash@payment", "add at=30s"),
        ("proc.crash at=3s", "add @payment"),
        ("proc.crash@paymnt at=3s", "did you mean payment?"),
        ("proc.term@payment at=3s for=3s", "for means nothing"),
        ("proc.term@payment#7 at=3s", "#7 means nothing"),
        ("proc.pause@payment at=3s", "add for=30s"),
        ("proc.pause@payment at=3s for=0s", "add for=30s"),
        ("proc.pause@payment at=3s for=3s by=9s", "by means nothing"),
        ("bus.down", "add for=30s"),
        ("bus.down for=3s rate=0.5", "rate means nothing for an outage"),
        ("bus.down#7 for=3s", "#7 means nothing"),
        ("bus.down@brokr for=3s", "did you mean broker?"),
        ("proc.crash@handler.after_comit rate=1", "did you mean handler.after_commit?"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_place_and_remedy(text: str, says: str) -> None:
    with pytest.raises(FaultError) as refused:
        parse_fault(text)

    assert f"fault {text!r}:" in str(refused.value)
    assert says in str(refused.value)
    assert "lab list --faults" in str(refused.value)


def test_every_crash_point_is_a_site_and_lies_somewhere() -> None:
    placed = {hook.point for hook in HOOKS} | {"handler.after_ack", MID_DRAIN, ANY}

    assert set(KINDS["proc.crash"].sites) == set(CRASH_POINTS) == placed


def test_every_kind_strikes_by_default_only_where_it_can() -> None:
    for kind in KINDS.values():
        assert set(kind.default_sites) <= set(kind.sites), kind.name


def test_the_ordinal_of_what_is_no_order_is_zero() -> None:
    assert [ordinal_of(text) for text in ("17.2", "17", "", "payment-1", "x.1")] == [
        17,
        17,
        0,
        0,
        0,
    ]
