"""Trains an ED-LoRA from pictures of a subject: `vswap concept train`."""
