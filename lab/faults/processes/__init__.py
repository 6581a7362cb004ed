"""Faults of processes: crash points around ports, and strikes at the work at hand."""
