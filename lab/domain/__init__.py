"""The order, its states, and the events that tell of them. No I/O, time or chance."""
