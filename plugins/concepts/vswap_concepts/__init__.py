"""vswap's built-in concepts."""
