"""What an order is, what may happen to it, and the events that say so. No I/O, time or chance."""
