"""Reports in a real browser: nothing runs off the page, nobody is shut out, nothing is fetched.

Not here: what stands in a report (`unit/report`, `cli/test_report.py`).
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import run
from lab.wiring.reporting import RunReport
from tests.kit.axe import RUN, need_axe
from tests.kit.chromium import Browser, browser

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(240)]

SCENARIO = """
[scenarios.mine]
summary = "what it is about never happens"
orders = 20
promises = ["effect-once", "retry-law"]
goals = ["bus.duplicate >= 4 %"]
"""
WIDTHS = (390, 1280)
PAGES = ("pass", "fail", "unknown", "everything", "beside")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports of a run that passed, one that failed, one that proves nothing, and of two."""
    folder = tmp_path_factory.mktemp("reports")
    own = folder / "own.toml"
    own.write_text(SCENARIO)
    runs = {
        "pass": run("crashes", orders=60, out=folder),
        "fail": run("duplicates", orders=60, off=("dedupe", "inbox"), out=folder),
        "unknown": run("mine", scenarios=(own,), out=folder),
        "everything": run("everything", seed=3, orders=60, out=folder),
    }
    assert [runs[name].verdict for name in PAGES[:3]] == ["PASS", "FAIL", "UNKNOWN"]
    reports = {name: RunReport(Path(str(one.run_dir))) for name, one in runs.items()}
    texts = {name: report.html() for name, report in reports.items()}
    texts["beside"] = reports["pass"].html_beside(reports["fail"])
    made = {name: folder / f"{name}.html" for name in texts}
    for name, path in made.items():
        path.write_text(texts[name], encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    profile = tmp_path_factory.mktemp("profile")
    with browser(profile) as found:
        yield found
    shutil.rmtree(profile, ignore_errors=True)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_a_report_fits_the_page_and_shuts_nobody_out(
    name: str,
    width: int,
    theme: str,
    pages: dict[str, Path],
    chromium: Browser,
    pytestconfig: pytest.Config,
) -> None:
    axe = need_axe(pytestconfig.cache.mkdir("axe"))
    chromium.open(pages[name], width=width, is_dark=theme == "dark")

    wide = chromium.ask("document.documentElement.scrollWidth")
    # What is folded away is to be read as well.
    chromium.ask("document.querySelectorAll('details').forEach(one => one.open = true)")
    wide_open = chromium.ask("document.documentElement.scrollWidth")
    chromium.ask(axe)
    found = chromium.ask(RUN)

    assert (wide, wide_open) == (width, width)
    assert found["findings"] == []
    assert found["rules"] > 20
    assert chromium.requests == [pages[name].as_uri()]
    assert chromium.said == []


def test_the_page_takes_what_the_reader_prefers(pages: dict[str, Path], chromium: Browser) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"

    chromium.open(pages["pass"], width=1280)
    light = chromium.ask(paper)
    chromium.open(pages["pass"], width=1280, is_dark=True)

    assert light != chromium.ask(paper)


def test_nothing_stands_beside_the_screen(pages: dict[str, Path], chromium: Browser) -> None:
    """Neither on a narrow screen nor on a wide one is a text cut off or laid over another."""
    for width in (390, 1600):
        chromium.open(pages["everything"], width=width)

        outside = chromium.ask(
            """[...document.querySelectorAll('main *, header *')].filter(one => {
                const box = one.getBoundingClientRect();
                return box.width > 1 && (box.right > innerWidth + 1 || box.left < -1)
                    && !one.closest('.scroll');
            }).map(one => one.outerHTML.slice(0, 80))"""
        )

        assert outside == []


def test_the_keyboard_reaches_the_content_at_once(
    pages: dict[str, Path], chromium: Browser
) -> None:
    chromium.open(pages["fail"], width=1280)

    chromium.press("Tab")
    first = chromium.ask("document.activeElement.textContent")
    seen = chromium.ask("document.activeElement.getBoundingClientRect().width")
    chromium.press("Enter")
    chromium.press("Tab")
    then = chromium.ask("document.activeElement.closest('section').id")

    assert first == "Skip to the promises"
    assert seen > 50
    assert then == "promises"


def test_a_policy_keeps_a_script_from_running_that_somebody_smuggled_in(
    tmp_path: Path, pages: dict[str, Path], chromium: Browser
) -> None:
    bad = tmp_path / "bad.html"
    page = pages["pass"].read_text("utf-8")
    bad.write_text(page.replace("<main>", "<main><script>document.title = 'taken'</script>"))

    chromium.open(bad, width=1280)

    assert "taken" not in chromium.ask("document.title")
    assert any("Content Security Policy" in told for told in chromium.said)
