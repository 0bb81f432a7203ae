"""Optical flow between whole frames; what families share."""
