"""The stores in memory: servers that survive crashes, and the clients of their processes."""
