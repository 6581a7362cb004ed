"""Faults of the bus: wrappers of the ports through which a process reaches the log."""
