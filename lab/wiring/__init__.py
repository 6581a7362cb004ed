"""The one place that picks adapters and composes patterns.

`run` is what the command line and a Python program call. Not here: what is decided before
(`spec`), and what is told after (`outcome`).
"""

from lab.wiring.running import run, run_spec, simulate

__all__ = ["run", "run_spec", "simulate"]
