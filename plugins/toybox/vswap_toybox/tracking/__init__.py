"""Trains `toytrack`, a small network that tracks points, on Toybox clips and on warped photographs.

Imported by `python -m vswap_toybox.train_tracker` alone: the rest of the package needs no torch.
"""
