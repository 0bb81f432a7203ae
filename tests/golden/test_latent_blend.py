"""Blend masks of each step, exactly, and the blended latents, of the recorded edits that replace no attention."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from .edits import Edit, follow_blending

EDITS = "blended"


def test_masks_are_exact_and_blended_latents_agree(edit: Edit) -> None:
    follow_blending(edit, edit.guidance(), edit.attached())
