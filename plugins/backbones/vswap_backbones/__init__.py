"""vswap's built-in backbones."""
