"""The plan of a run: which faults fire where, what else must hold, what fired, and its file."""
