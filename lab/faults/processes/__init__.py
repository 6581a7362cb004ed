"""Faults of processes: crash points around ports, and strikes at what a process is working on."""
