"""JUnit XML: what a build server shows, and when it turns red."""

from xml.etree.ElementTree import Element, fromstring

import pytest
from msgspec.structs import replace

from lab.report.junit import VERDICT, junit_of_run, junit_of_seeds
from lab.report.result import Result
from lab.report.seeds import seed_run, sum_up
from tests.kit.results import make_fail, make_result, make_unknown


def suite_of(result: Result) -> Element:
    root = fromstring(junit_of_run(result))
    assert root.tag == "testsuites"
    (suite,) = root
    assert suite.tag == "testsuite"
    for name in ("tests", "failures", "errors", "skipped"):
        assert root.get(name) == suite.get(name)
    return suite


def case(suite: Element, name: str) -> Element:
    (found,) = [one for one in suite.findall("testcase") if one.get("name") == name]
    return found


def counts(suite: Element) -> tuple[int, ...]:
    return tuple(int(suite.get(name, "-1")) for name in ("tests", "failures", "errors", "skipped"))


def test_each_promise_is_a_test_case_and_so_is_the_verdict() -> None:
    result = make_result()
    suite = suite_of(result)

    names = [one.get("name") for one in suite.findall("testcase")]
    assert names == [*(check.name for check in result.checks), VERDICT]
    assert counts(suite) == (11, 0, 0, 0)
    assert {one.get("classname") for one in suite.findall("testcase")} == {"lab.duplicates"}
    assert case(suite, VERDICT).get("time") == "0.310"


def test_a_broken_promise_fails_with_its_witness_and_how_to_see_it_again() -> None:
    suite = suite_of(make_fail())

    found = case(suite, "no-double-charge")
    failure = found.find("failure")
    assert failure is not None
    told = "broken 3 of 500 times; order 37: 2 captures, at 4.210s and 9.730s"
    assert (failure.get("message"), failure.text, failure.get("type")) == (told, told, "safety")
    assert found.findtext("system-out") == "lab run duplicates --seed 7"
    assert counts(suite) == (11, 2, 0, 0)


def test_a_promise_that_was_not_exercised_is_skipped() -> None:
    result = make_result()
    checks = (replace(result.checks[0], verdict="UNKNOWN", checked=0), *result.checks[1:])
    suite = suite_of(replace(result, checks=checks))

    skipped = case(suite, "effect-once").find("skipped")
    assert skipped is not None
    assert skipped.get("message") == "not exercised"
    assert counts(suite) == (11, 0, 0, 1)


def test_a_run_that_proves_nothing_is_an_error_and_not_green() -> None:
    suite = suite_of(make_unknown())

    error = case(suite, VERDICT).find("error")
    assert error is not None
    assert "bus.duplicate >= 4 %" in error.get("message", "")
    assert counts(suite) == (11, 0, 1, 0)


def test_an_interrupted_run_is_an_error() -> None:
    suite = suite_of(replace(make_result(), partial=True))

    assert counts(suite) == (11, 0, 1, 0)


def test_what_breaks_beyond_the_contract_fails_no_test() -> None:
    result = make_fail()
    checks = tuple(replace(one, expected=one.verdict == "FAIL") for one in result.checks)
    suite = suite_of(replace(result, verdict="UNKNOWN", checks=checks))

    assert counts(suite) == (11, 0, 1, 1)


def test_it_says_how_the_run_was_made() -> None:
    suite = suite_of(replace(make_fail(), off=("dedupe", "inbox")))

    found = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert found["seed"] == "7"
    assert found["off"] == "dedupe,inbox"
    assert found["reproduce"] == "lab run duplicates --seed 7"


@pytest.mark.parametrize("text", ["]]>&<\"'", "\x00\x1b[31m\ud800\ufffe", "a\nb\tc"])
def test_any_text_makes_whole_xml(text: str) -> None:
    result = make_fail()
    broken = [replace(one, witness=text, name=text) for one in result.checks]

    suite = suite_of(replace(result, scenario=text, checks=tuple(broken), reproduce=text))

    assert len(suite.findall("testcase")) == 11


def test_of_many_seeds_each_is_a_test_case() -> None:
    runs = [seed_run(replace(make(), seed=seed)) for seed, make in
            enumerate((make_result, make_fail, make_unknown), start=1)]  # fmt: skip
    summary = sum_up("duplicates", runs, mode="simulated", seeds=3, is_partial=False)

    (suite,) = fromstring(junit_of_seeds(summary))

    assert [one.get("name") for one in suite.findall("testcase")] == ["seed 1", "seed 2", "seed 3"]
    assert counts(suite) == (3, 1, 1, 0)
    failure = case(suite, "seed 2").find("failure")
    assert failure is not None
    assert "2 captures" in (failure.text or "")


def test_seeds_that_were_cut_short_are_no_success() -> None:
    runs = [seed_run(make_result())]
    summary = sum_up("duplicates", runs, mode="simulated", seeds=9, is_partial=True)

    (suite,) = fromstring(junit_of_seeds(summary))

    assert counts(suite) == (2, 0, 1, 0)
    error = case(suite, VERDICT).find("error")
    assert error is not None
    assert error.get("message") == "interrupted after 1 of 9 seeds"
