"""`result.json` and its schema say the same."""

import json

import jsonschema
import msgspec
import pytest

from lab.report.result import SCHEMA_VERSION, Result, encode_result, result_schema
from lab.report.seeds import seed_run, sum_up
from tests.kit.results import make_fail, make_result, make_unknown

PROMISED = {
    "schema_version", "scenario", "mode", "bus", "store", "dedupe", "seed", "orders", "verdict",
    "checks", "faults", "patterns", "metrics", "time", "digest", "reproduce",
}  # fmt: skip


def test_a_result_follows_its_schema() -> None:
    schema = json.loads(result_schema())
    jsonschema.Draft202012Validator.check_schema(schema)

    for result in (make_result(), make_fail(), make_unknown()):
        jsonschema.validate(json.loads(encode_result(result)), schema)


@pytest.mark.parametrize(
    ("field", "value"),
    [("verdict", "MAYBE"), ("seed", "7"), ("orders", {}), ("checks", [{}]), ("digest", None)],
)
def test_the_schema_refuses_what_is_no_result(field: str, value: object) -> None:
    changed = {**json.loads(encode_result(make_result())), field: value}

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed, json.loads(result_schema()))


def test_a_result_holds_every_field_that_was_promised() -> None:
    told = json.loads(encode_result(make_result()))

    assert set(told) >= PROMISED
    assert told["schema_version"] == SCHEMA_VERSION
    assert set(told["orders"]) == {
        "read", "unreadable", "submitted", "accepted", "refused", "refused_by_reason", "by_state",
    }  # fmt: skip
    assert set(told["checks"][0]) >= {"name", "kind", "verdict", "checked", "violations", "witness"}
    assert set(told["faults"][0]) >= {"name", "fired"}
    assert set(told["patterns"][0]) >= {"name", "on", "acted"}
    assert set(told["time"]) == {"virtual_ms", "wall_ms", "epoch"}


def test_an_encoded_result_is_one_object_that_reads_back() -> None:
    encoded = encode_result(make_fail())

    assert encoded.endswith(b"}\n")
    assert msgspec.json.decode(encoded, type=Result) == make_fail()


def test_many_seeds_are_as_bad_as_the_worst() -> None:
    good, bad, dull = (seed_run(make()) for make in (make_result, make_fail, make_unknown))

    def verdict(*runs: object) -> str:
        kept = [run for run in (good, bad, dull) if run in runs]
        return sum_up("duplicates", kept, mode="simulated", seeds=9, is_partial=False).verdict

    assert verdict(good) == "PASS"
    assert verdict(good, dull) == "UNKNOWN"
    assert verdict(good, dull, bad) == "FAIL"
    assert verdict() == "UNKNOWN"
    summed = sum_up("duplicates", [good, bad, bad], mode="simulated", seeds=3, is_partial=False)
    assert summed.by_verdict == {"PASS": 1, "FAIL": 2, "UNKNOWN": 0}
    assert summed.broken == {"no-double-charge": 2}
    assert bad.why == "no-double-charge: order 37: 2 captures, at 4.210s and 9.730s"
    assert dull.why == "not reached: bus.duplicate >= 4 %"
