"""The one place that picks adapters and composes patterns.

A Python program calls `run.run`, the command line `run.run_spec`. Not here: anything that would be
imported with every process of the lab, of which each needs a few rooms only.
"""
