"""vswap's built-in swappers."""
