"""Registers the built-in toybox."""

from __future__ import annotations
