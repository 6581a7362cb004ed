"""Every interface that a service or a pattern may need, stated by its guarantees."""
