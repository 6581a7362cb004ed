"""The ground of a process: virtual time, keyed chance, clocks, processes that can be killed."""
