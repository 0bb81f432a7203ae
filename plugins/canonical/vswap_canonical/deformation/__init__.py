"""The deformation field: an invertible deformation of every frame to one canonical frame, and how it is fitted."""
