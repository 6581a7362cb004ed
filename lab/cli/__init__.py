"""The command line. One file per command; `render` is the only user of rich.

Not here: anything that runs at import, so that `lab --help` answers at once.
"""

import sys

from lab.cli.early import hear_from_the_start


def main() -> int:
    """Run the command that the shell asked for; returns its exit code."""
    hear_from_the_start(sys.argv[1:])
    try:
        from lab.cli.app import run_command  # typer is fetched when it is needed

        return run_command()
    except KeyboardInterrupt:  # so early that nobody else takes it
        return 130
