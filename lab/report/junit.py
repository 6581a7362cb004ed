"""JUnit XML for build servers: a test case a promise of one run, or a seed of many.

A promise that was not exercised is skipped; a run that proves nothing is an error, for a build must
not be green because nothing was tested. Not here: `result.json`, which says everything.

Source: the format that Ant's `junitreport` and Maven's Surefire write, which Jenkins, GitLab and
others read.
"""

import re
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from lab.report.result import CheckResult, Result
from lab.report.seeds import SeedRun, SeedsResult

VERDICT: Final = "verdict"
_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML cannot hold, however it is written."""


def junit_of_run(result: Result) -> bytes:
    """A suite with a case for each promise, and one for the verdict on the run."""
    suite = Element("testsuite", name=_clean(f"lab {result.scenario}"))
    facts = {
        "scenario": result.scenario,
        "mode": result.mode,
        "seed": str(result.seed),
        "off": ",".join(result.off),
        "digest": result.digest,
        "reproduce": result.reproduce,
    }
    listed = SubElement(suite, "properties")
    for name, value in facts.items():
        SubElement(listed, "property", name=name, value=_clean(value))
    for check in result.checks:
        _promise(suite, result, check)
    case = _case(suite, result.scenario, VERDICT, result.time.wall_ms)
    why = result.why
    if result.partial:
        _add(case, "error", "interrupted", f"the run was interrupted: {why}")
    elif result.verdict == "UNKNOWN":
        missed = [goal.goal for goal in result.goals if goal.applicable and not goal.reached]
        told = f"this run proves nothing: {why or ', '.join(missed)}"
        _add(case, "error", "UNKNOWN", told)
    elif result.verdict == "FAIL":
        _add(case, "failure", "FAIL", why or "a promise was broken")
    _say(case, result.reproduce)
    return _document(suite)


def junit_of_seeds(result: SeedsResult) -> bytes:
    """A suite with a case for each seed; a seed that did not run any more is missing."""
    suite = Element("testsuite", name=_clean(f"lab {result.scenario}"))
    for run in result.runs:
        _seed(suite, result.scenario, run)
    if result.partial:
        case = _case(suite, result.scenario, VERDICT, 0)
        told = f"interrupted after {len(result.runs):,} of {result.seeds:,} seeds"
        _add(case, "error", "interrupted", told)
    return _document(suite)


def _promise(suite: Element, result: Result, check: CheckResult) -> None:
    case = _case(suite, result.scenario, check.name, 0)
    if check.verdict == "UNKNOWN":
        SubElement(case, "skipped", message="not exercised")
    elif check.expected:
        told = f"broken, as expected beyond the contract: {check.witness}"
        SubElement(case, "skipped", message=_clean(told))
    elif check.verdict == "FAIL":
        told = f"broken {check.violations:,} of {check.checked:,} times; {check.witness}"
        _add(case, "failure", check.kind, told)
        _say(case, result.reproduce)


def _seed(suite: Element, scenario: str, run: SeedRun) -> None:
    case = _case(suite, scenario, f"seed {run.seed}", run.wall_ms)
    if run.verdict == "PASS":
        return
    is_broken = run.verdict == "FAIL"
    _add(case, "failure" if is_broken else "error", run.verdict, run.why)
    _say(case, run.reproduce)


def _case(suite: Element, scenario: str, name: str, wall_ms: int) -> Element:
    return SubElement(
        suite,
        "testcase",
        classname=_clean(f"lab.{scenario}"),
        name=_clean(name),
        time=f"{wall_ms / 1_000:.3f}",
    )


def _add(case: Element, outcome: str, kind: str, told: str) -> None:
    found = SubElement(case, outcome, type=kind, message=_clean(told))
    found.text = _clean(told)


def _say(case: Element, command: str) -> None:
    SubElement(case, "system-out").text = _clean(command)


def _document(suite: Element) -> bytes:
    """The suite with its counts, in the element that all readers expect."""
    cases = suite.findall("testcase")
    counts = {"tests": str(len(cases))}
    for plural, outcome in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        counts[plural] = str(sum(case.find(outcome) is not None for case in cases))
    counts["time"] = f"{sum(float(case.get('time', '0')) for case in cases):.3f}"
    suite.attrib.update(counts)
    root = Element("testsuites", counts)
    root.append(suite)
    indent(root)
    text = tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'.encode()


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
