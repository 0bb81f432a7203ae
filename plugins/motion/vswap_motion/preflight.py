"""Refuses a motion module that can't work with the run's backbone and clip, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vswap_kernel.api import Facts
from vswap_kernel.errors import InputError
from vswap_motion.checkpoint import MotionCheckpoint, converted, examine, locate, read_weights
from vswap_motion.register import AnimateDiffOptions


def preflight(options: AnimateDiffOptions, facts: Facts) -> None:
    """Check the checkpoint against the backbone and the number of frames.

    Raises:
        InputError: other widths than the backbone's, windows longer than its positions, a clip that doesn't fit and no
            windows, a damaged file, a pickle with code in it.
    """
    check_overlap(options)
    path = locate(options, download=False)
    if path is None:
        return
    checkpoint = examine(converted(read_weights(path), path), path, options.heads)
    check_frames(checkpoint, options, facts.frames, path)
    check_widths(checkpoint, facts.described.get("backbone", {}), path)


def check_overlap(options: AnimateDiffOptions) -> None:
    """Raises InputError for windows that would never move on."""
    if options.overlap >= options.window:
        raise InputError(f"motion.overlap: {options.overlap} must be less than the window of {options.window} frames")


def check_frames(checkpoint: MotionCheckpoint, options: AnimateDiffOptions, frames: int | None, path: Path) -> None:
    """Raises InputError for passes of more frames than the checkpoint has positions for."""
    if options.windows and options.window > checkpoint.positions:
        raise InputError(f"motion.window: {options.window}, but {path} has positions for {checkpoint.positions} frames")
    if not options.windows and frames is not None and frames > checkpoint.positions:
        raise InputError(
            f"motion.windows: {frames} frames don't fit in one pass, {path} has positions for {checkpoint.positions}; "
            "set `windows: true`, or take fewer frames"
        )


def check_widths(checkpoint: MotionCheckpoint, backbone: Mapping[str, Any], path: Path) -> None:
    """Raises InputError where the temporal layers don't fit between the backbone's."""
    for name, mine in (("widths", checkpoint.widths), ("layers_per_block", checkpoint.layers_per_block)):
        if backbone.get(name, mine) != mine:
            what = "levels of widths" if name == "widths" else "layers per block:"
            raise InputError(
                f"{path}: a motion module made for another base: {what} {mine}, the backbone has {backbone[name]}"
            )
