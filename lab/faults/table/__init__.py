"""The table of faults: every kind as one row, every crash point, the way to write a fault."""
