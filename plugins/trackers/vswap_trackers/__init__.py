"""vswap's built-in trackers."""
