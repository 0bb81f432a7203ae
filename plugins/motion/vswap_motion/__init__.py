"""vswap's built-in motion modules."""
