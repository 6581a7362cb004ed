"""axe-core, the engine that finds what a page keeps from people: its source, to be run in a page.

It comes from npm and is kept in pytest's cache. Not here: the browser (`chromium`).
"""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from tests.kit.chromium import may_install, missing

VERSION: Final = "4.11.1"

RUN: Final = """
axe.run(document, {resultTypes: ["violations", "incomplete"]}).then(found => ({
    findings: found.violations.flatMap(rule => rule.nodes.map(node =>
        `${rule.id}: ${node.target.join(" ")}: ${node.failureSummary}`)),
    rules: found.passes.length,
}))
"""
"""Runs it in a page; a promise of its findings, and of how many rules had something to look at."""


def need_axe(cache: Path) -> str:
    """The source of axe-core; ends the test if it is not there and may not be fetched.

    Args:
        cache: a folder that is kept between test runs.
    """
    source = cache / f"axe-core-{VERSION}.js"
    if not source.is_file():
        npm = shutil.which("npm")
        if npm is None or not may_install():
            missing(f"no axe-core {VERSION}: needs npm, and LAB_INSTALL=1 to fetch it")
        assert npm is not None
        # A folder of its own: one that was left half done would be taken for done.
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            fetch = [npm, "install", "--prefix", folder, "--no-save", "--no-audit", "--no-fund"]
            fetch += ["--ignore-scripts", f"axe-core@{VERSION}"]
            subprocess.run(fetch, check=True, capture_output=True, timeout=120)
            (Path(folder) / "node_modules" / "axe-core" / "axe.min.js").replace(source)
    return source.read_text("utf-8")
