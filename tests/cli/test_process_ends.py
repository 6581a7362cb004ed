"""What a process of the standing system says when it ends by an error, at its start too."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_a_process_that_cannot_begin_says_so_in_one_line_of_its_log(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "lab", "providers", "--port", str(port)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )

    (line,) = ended.stderr.splitlines()
    told = json.loads(line)
    assert (ended.returncode, ended.stdout) == (4, "")
    assert (told["event"]["action"], told["event"]["outcome"]) == ("end", "failure")
    assert (told["log.level"], told["error"]["type"]) == ("critical", "EnvironmentNotReady")
    assert str(port) in told["message"]
