"""The worlds: simulated, one process on the wall clock, and real processes."""
