"""The table of faults: how a fault is written, every kind as one row, every crash point."""
