"""The backends of a run: a bus, stores and third parties, in memory or on real servers."""
