"""vswap's built-in canonical."""
