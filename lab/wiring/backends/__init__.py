"""What a run stands on: a bus, stores and third parties, in memory or on real servers."""
