"""Trains the Toybox model: a tiny model of Stable Diffusion 1.5's shape, on pictures of the Toybox.

Imported by `python -m vswap_toybox.train` alone: the rest of the package needs neither torch nor diffusers.
"""
