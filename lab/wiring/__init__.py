"""The one place that picks adapters and composes patterns.

`running.run` is what the command line and a Python program call. Not here: anything that would be
imported with every process of the lab, of which each needs a few rooms only.
"""
