"""How fast the lab is, as ratios to raw baselines that are measured in the same run.

Not here: printing (`lab.cli.bench`), and any limit that a test would enforce: a machine that is
busy is no mistake of the code.
"""
