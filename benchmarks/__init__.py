"""Programs that measure the lab beside others; no part of the package."""
