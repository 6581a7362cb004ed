"""The plan of a run: its sites and coins, further conditions, and the file of the firings."""
