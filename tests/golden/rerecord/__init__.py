"""Writes sets of the recordings' layout under other settings, so that tests and code are seen not to lean on one set.

Nothing of vswap is imported: the figures come from plain loops and tensors, see each module. They show that a test or
our code holds at other settings; that it agrees with the reference, only recordings of the reference can show.
"""
