"""vswap's built-in masks."""
