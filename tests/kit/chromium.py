"""Headless Chromium, driven through a pipe: no port, no driver, no library.

Not here: what is looked at. A machine without it gets it from its package manager with `CI` or
`LAB_INSTALL=1` set; else the test is skipped and says what to install.

Source: Chrome DevTools Protocol; `--remote-debugging-pipe` reads file descriptor 3, writes 4.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)

_BECOME: Final = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Becomes the browser, with the ends of the pipe where it expects them."""


def need_chromium() -> str:
    """The path of the browser; ends the test if there is none."""
    found = _find()
    if found is None and may_install():
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}  # noqa: TID251 - apt's
        for command in (["apt-get", "update", "-qq"], install):
            subprocess.run(command, env=environment, check=True, capture_output=True)
        found = _find()
    if found is None:
        missing("no Chromium: apt-get install chromium (LAB_INSTALL=1 does so)")
    assert found is not None
    return found


def may_install() -> bool:
    """Whether tests may install what they lack."""
    variables = os.environ  # noqa: TID251 - of the tests' own surroundings
    return bool(variables.get("CI")) or variables.get("LAB_INSTALL") == "1"


def missing(reason: str) -> None:
    """Skip the test, or fail it on a build machine."""
    if os.environ.get("CI"):  # noqa: TID251 - see above
        pytest.fail(reason)
    pytest.skip(reason)


def _find() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One running browser with one page.

    Attributes:
        requests: addresses that the page asked for since it was opened, its own too.
        said: errors of the page, such as a policy that was violated.
    """

    def __init__(self, write: int, read: int) -> None:
        self._write = write
        self._read = read
        self._unread = b""
        self._last = 0
        self._session: str | None = None
        self.requests: list[str] = []
        self.said: list[str] = []

    def open(self, path: Path, *, width: int, height: int = 900, is_dark: bool = False) -> None:
        """Load a file in a window of this size."""
        if self._session is None:
            target = self._call("Target.createTarget", url="about:blank")["targetId"]
            found = self._call("Target.attachToTarget", targetId=target, flatten=True)
            self._session = found["sessionId"]
            for domain in ("Page", "Network", "Log", "Runtime"):
                self._call(f"{domain}.enable")
        scheme = "dark" if is_dark else "light"
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._call("Emulation.setEmulatedMedia", features=features)
        self._resize(width, height)
        self.requests.clear()
        self.said.clear()
        self._call("Page.navigate", url=path.as_uri())
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def ask(self, script: str) -> Any:
        """The value of an expression of JavaScript in the page; a promise is waited for."""
        answer = self._call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        code = {"Tab": 9, "Enter": 13}[key]
        text = {"Enter": "\r"}.get(key, "")
        down = {"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code}
        self._call("Input.dispatchKeyEvent", **down, text=text)
        self._call("Input.dispatchKeyEvent", **{**down, "type": "keyUp"})

    def picture(self, path: Path, *, top: int = 0, height: int = 0, scale: float = 1) -> None:
        """A PNG of the page, whole or `height` pixels of it."""
        size = self._call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {
            "x": 0,
            "y": top,
            "width": size["width"],
            "height": height or size["height"] - top,
            "scale": scale,
        }
        shot = self._call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _resize(self, width: int, height: int) -> None:
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def _call(self, method: str, **parameters: object) -> Any:
        self._last += 1
        message: dict[str, object] = {"id": self._last, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._last:
                assert "error" not in answer, (method, answer)
                return answer["result"]

    def _next(self) -> Any:
        """The next message; what it tells of the page is noted."""
        while b"\0" not in self._unread:
            part = os.read(self._read, 1 << 16)
            assert part, "the browser has gone away"
            self._unread += part
        text, _, self._unread = self._unread.partition(b"\0")
        message = json.loads(text)
        told = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif message.get("method") == "Log.entryAdded":
            self.said.append(told["entry"]["text"])
        return message


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own, which ends with the block."""
    path = need_chromium()
    to_child, write = os.pipe()
    read, from_child = os.pipe()
    ends = str(to_child), str(from_child)
    child = subprocess.Popen(
        [sys.executable, "-c", _BECOME, *ends, path, *_FLAGS, f"--user-data-dir={profile}"],
        pass_fds=(to_child, from_child),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(to_child)
    os.close(from_child)
    try:
        yield Browser(write, read)
    finally:
        os.close(write)
        os.close(read)
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
