"""The course of a run: orders, backlog and faults over its time, out of entries made by hand."""

from collections.abc import Sequence

from lab.history.entries import FIELDS, Entry
from lab.report.course import DOTS_MAX, Course, CourseFold

S = 1_000_000
TOPIC = "orders"


def entry(kind: str, t_us: int, subject: str = "", **fields: object) -> Entry:
    """An entry with these fields; the others have no meaning here."""
    names = FIELDS[kind][4:]
    assert set(fields) <= set(names), (kind, fields)
    return (kind, t_us, "somebody", subject, *(fields.get(name, "") for name in names))


def post(t_us: int, subject: str) -> Entry:
    return entry("http.begin", t_us, subject, op="create", send=1)


def row(t_us: int, subject: str, version: int, state: str, event_id: str = "") -> Entry:
    return entry("row", t_us, subject, version=version, state=state, event_id=event_id)


def course_of(entries: Sequence[Entry], batch: int = 1_000) -> Course:
    fold = CourseFold()
    for start in range(0, len(entries), batch):
        fold.take(entries[start : start + batch])
    return fold.course()


def test_an_order_is_open_from_its_first_row_until_its_end() -> None:
    course = course_of(
        [
            entry("phase", 0, name="faults"),
            post(S, "1.1"),
            row(2 * S, "1.1", 1, "PENDING"),
            row(4 * S, "1.1", 2, "CONFIRMED"),
            entry("phase", 10 * S, name="end"),
        ]
    )

    assert (course.accepted, course.ended, course.refused) == (1, 1, 0)
    assert course.dots == ((S, 3 * S),)
    assert (course.slowest, course.slowest_us) == ("1.1", 3 * S)
    opened = {one.start_us: one.open for one in course.columns}
    assert max(opened.values()) == 1
    assert all(many == (2 * S - course.width_us < at <= 4 * S) for at, many in opened.items())
    assert course.open_since == ()


def test_times_count_from_the_begin_of_the_load() -> None:
    course = course_of(
        [
            entry("life", 90 * S, event="start"),
            entry("phase", 100 * S, name="faults"),
            post(101 * S, "1.1"),
            row(101 * S, "1.1", 1, "PENDING"),
            entry("phase", 105 * S, name="end"),
        ]
    )

    assert course.end_us == 5 * S
    assert course.phases == {"faults": 0, "end": 5 * S}
    assert course.open_since == (S,)


def test_an_order_that_has_to_give_money_back_ends_with_the_refund() -> None:
    entries = [
        post(0, "1.1"),
        row(0, "1.1", 1, "PENDING"),
        row(2 * S, "1.1", 2, "CANCELLED"),
        row(3 * S, "1.1", 3, "REFUND_PENDING"),
        row(7 * S, "1.1", 4, "REFUNDED"),
        post(0, "2.1"),
        row(0, "2.1", 1, "PENDING"),
        row(5 * S, "2.1", 2, "CANCELLED"),
    ]

    course = course_of(sorted(entries, key=lambda one: int(str(one[1]))))

    assert sorted(course.dots) == [(0, 5 * S), (0, 7 * S)]
    assert course.ended == 2


def test_a_refused_request_is_counted_once_and_is_never_open() -> None:
    course = course_of(
        [
            post(0, "1.1"),
            entry("http.end", S, "1.1", op="create", status=422, send=1),
            entry("http.end", S, "1.1", op="create", status=422, send=2),
            entry("phase", 2 * S, name="end"),
        ]
    )

    assert (course.refused, course.accepted) == (1, 0)
    assert sum(one.refused for one in course.columns) == 1
    assert course.open_since == ()


def test_an_event_waits_in_the_outbox_until_it_stands_in_the_log() -> None:
    course = course_of(
        [
            row(0, "1.1", 1, "PENDING", "e1"),
            entry("appended", 5 * S, "1.1", topic=TOPIC, partition=0, offset=0, event_id="e1"),
            entry("appended", 6 * S, "1.1", topic=TOPIC, partition=0, offset=1, event_id="e1"),
            entry("phase", 10 * S, name="end"),
        ]
    )

    waiting = [one.outbox for one in course.columns]
    assert waiting[0] == 1
    assert waiting[-1] == 0
    assert max(waiting) == 1


def test_a_record_waits_for_each_group_that_reads_it_until_that_has_settled_it() -> None:
    place: dict[str, object] = {"topic": TOPIC, "partition": 0, "offset": 7}

    def settle(t_us: int, group: str, how: str) -> Entry:
        return entry("settle", t_us, "1.1", **place, group=group, settlement=how)

    course = course_of(
        [
            entry("owned", 0, group="validation", partitions=("orders/0", "orders/1")),
            entry("owned", 0, group="notification", partitions=("orders/0",)),
            entry("appended", 2 * S, "1.1", event_id="e1", **place),
            settle(3 * S, "validation", "ack"),
            settle(3 * S, "notification", "retry"),
            # Delivered twice, settled twice.
            settle(4 * S, "validation", "ack"),
            settle(8 * S, "notification", "dead"),
            entry("phase", 10 * S, name="end"),
        ]
    )

    at = {one.start_us // course.width_us: one.records for one in course.columns}
    assert at[S // course.width_us] == 0
    assert at[2 * S // course.width_us] == 2
    assert at[6 * S // course.width_us] == 1
    assert at[9 * S // course.width_us] == 0


def test_a_settlement_that_a_slow_clock_dates_before_its_record_leaves_nothing_waiting() -> None:
    place = {"topic": TOPIC, "partition": 0, "offset": 7}

    course = course_of(
        [
            entry("owned", 0, group="validation", partitions=("orders/0",)),
            entry("settle", S, "1.1", group="validation", settlement="ack", **place),
            entry("appended", S + 9, "1.1", event_id="e1", **place),
            entry("phase", 2 * S, name="end"),
        ]
    )

    assert [one.records for one in course.columns] == [0] * len(course.columns)


def test_a_fault_that_lasts_is_a_span_that_ends_with_the_faults() -> None:
    down = {"kind_of_fault": "bus.down", "site": "broker"}
    course = course_of(
        [
            entry("phase", 0, name="faults"),
            entry("fault", 3 * S, **down, lasts_us=20 * S),
            entry("phase", 10 * S, name="heal"),
            entry("phase", 30 * S, name="end"),
        ]
    )
    ended = course_of(
        [
            entry("phase", 0, name="faults"),
            entry("fault", 3 * S, **down, lasts_us=0),
            entry("fault_end", 5 * S, **down),
            entry("phase", 10 * S, name="heal"),
        ]
    )

    assert [lane.spans for lane in course.lanes] == [((3 * S, 10 * S),)]
    assert [lane.spans for lane in ended.lanes] == [((3 * S, 5 * S),)]


def test_what_a_clock_goes_wrong_by_is_no_length_of_a_fault() -> None:
    course = course_of(
        [
            entry("fault", S, kind_of_fault="clock.skew", site="payment-1", lasts_us=-22 * S),
            entry("fault", S, kind_of_fault="clock.jump", site="payment-1", lasts_us=2 * S),
            post(9 * S, "1.1"),
        ]
    )

    assert [(lane.kind, lane.fired, lane.spans) for lane in course.lanes] == [
        ("clock.skew", 1, ()),
        ("clock.jump", 1, ()),
    ]


def test_the_order_that_most_faults_struck_is_known() -> None:
    course = course_of(
        [
            entry("fault", 0, f"{n}.1", kind_of_fault="svc.error", site="mailer", lasts_us=0)
            for n in (1, 2, 3, 2, 3, 3)
        ]
    )

    assert (course.hit_most, course.hits) == ("3.1", 3)
    assert course.lanes[0].fired == 6
    assert sum(one.faults["svc.error"] for one in course.columns if one.faults) == 6


def test_how_entries_are_cut_into_batches_does_not_matter() -> None:
    entries = [one for n in range(50) for one in (
        post(n * S, f"{n}.1"), row(n * S, f"{n}.1", 1, "PENDING", f"e{n}"),
        row(n * S + 5, f"{n}.1", 2, "CONFIRMED"),
    )]  # fmt: skip

    assert course_of(entries, batch=1) == course_of(entries, batch=7) == course_of(entries)


def test_of_very_many_orders_single_ones_are_not_kept() -> None:
    entries: list[Entry] = []
    for n in range(DOTS_MAX + 1):
        entries += [post(n, f"{n}.1"), row(n, f"{n}.1", 1, "PENDING")]
        entries.append(row(n + 1, f"{n}.1", 2, "CONFIRMED"))

    course = course_of(entries)

    assert course.ended == DOTS_MAX + 1
    assert course.dots == ()


def test_nothing_makes_an_empty_course() -> None:
    course = course_of([])

    assert (course.accepted, course.ended, course.slowest, course.hit_most) == (0, 0, "", "")
    assert len(course.columns) == 1
