"""What an order is, what may happen to it, and the events that say so. No I/O, no time, no chance."""
