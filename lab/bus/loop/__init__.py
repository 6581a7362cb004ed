"""The delivery loop, the same on every log: fetches, lanes, workers, settlements, commits, drain."""
