"""Faults: the table of them, the plan of a run, and the injectors, one folder or file a family."""
