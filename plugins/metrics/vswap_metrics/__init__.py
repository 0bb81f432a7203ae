"""vswap's built-in metrics."""
