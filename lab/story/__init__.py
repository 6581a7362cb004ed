"""What happened to one order, as a story: its steps, its turning point, where two runs part."""
