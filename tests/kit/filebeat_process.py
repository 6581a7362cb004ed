"""A real Filebeat with the project's own configuration, which a test can kill and start again.

Not here: building it (`scripts/servers filebeat`).
"""

import os
import signal
import subprocess
from pathlib import Path
from typing import Final

CONFIG: Final = Path(__file__).parents[2] / "elk" / "filebeat.yml"
ENDS_S_MAX: Final = 20

# The stand-in for Elasticsearch says that it is older; a port is not wanted here; and a kill shall
# find events on their way, so they are sent in small parts.
_OTHER_THAN_IN_COMPOSE: Final = (
    "output.elasticsearch.allow_older_versions=true",
    "http.enabled=false",
    "queue.mem.flush.min_events=128",
    "queue.mem.flush.timeout=0.2s",
    "output.elasticsearch.bulk_max_size=128",
)


class Filebeat:
    """Filebeat over two folders; what it remembers stands in `state` and survives a kill.

    Args:
        binary: the program.
        url: of the search server.
        runs, telemetry: what it reads, as the volumes of `docker-compose.yml`.
        state: where it remembers how far it has come, and its own log.
        config: another configuration than the project's.
    """

    def __init__(
        self,
        binary: Path,
        *,
        url: str,
        runs: Path,
        telemetry: Path,
        state: Path,
        config: Path = CONFIG,
    ) -> None:
        self._command = [str(binary), "-e", "-c", str(config), "--strict.perms=false"]
        self._command += ["--path.data", str(state / "data"), "--path.logs", str(state / "logs")]
        for setting in _OTHER_THAN_IN_COMPOSE:
            self._command += ["-E", setting]
        self._variables = {
            **os.environ,  # noqa: TID251 - handed on
            "LAB_ELASTICSEARCH_URL": url,
            "LAB_RUNS": str(runs),
            "LAB_TELEMETRY": str(telemetry),
        }
        self.log = state / "filebeat.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it has not read anything yet."""
        assert self._process is None
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._variables, stdin=subprocess.DEVNULL, stderr=log, stdout=log
            )

    def kill(self) -> None:
        """SIGKILL: it writes nothing down any more."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM; does nothing if it does not run."""
        if self._process is not None:
            self._end(signal.SIGTERM)

    def is_running(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        try:
            self._process.wait(ENDS_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
