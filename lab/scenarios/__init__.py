"""Named experiments: what is ordered, what goes wrong, what must hold, what must really happen."""
