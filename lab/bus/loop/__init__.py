"""The delivery loop, the same on every log: fetch, lanes, workers, settlements, commits, drain."""
