"""Registers the built-in reports."""

from __future__ import annotations
