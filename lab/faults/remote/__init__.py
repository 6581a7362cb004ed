"""The plan over processes: the supervisor answers, a real process asks."""
