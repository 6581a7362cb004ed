"""Named experiments: their orders, their faults, the promises at risk, and their goals."""
