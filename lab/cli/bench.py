"""`lab bench`: what one simulated order costs, beside raw baselines of the same run.

Not here: what is measured (`lab.bench`).
"""

from lab.cli import options
from lab.cli.exit_codes import ExitCode


def bench(*, json: options.Json = False, no_color: options.NoColor = False) -> int:
    """Measure what one simulated order costs, against baselines of the same run."""
    raise NotImplementedError
    return ExitCode.PASS
