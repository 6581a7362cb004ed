"""What a process runs on: virtual time, keyed chance, clocks and processes that can be killed."""
