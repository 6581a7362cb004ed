"""The result of a run as data, with a published schema. Not here: how it is shown (`lab.cli`)."""
