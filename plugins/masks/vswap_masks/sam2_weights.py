"""Which weights and points `sam2` takes: told without loading anything."""

from __future__ import annotations

from vswap_kernel.api import Facts
from vswap_kernel.errors import InputError
from vswap_masks.register import Sam2Options
from vswap_pretrained.kinds import check_kind

KINDS = {"sam2_video": "Sam2VideoModel"}
"""By `model_type`, the class in transformers."""


def preflight(options: Sam2Options, facts: Facts) -> None:
    """Check folder and points before anything is computed.

    Raises:
        InputError: the folder holds no SAM 2 video model; there is no point.
    """
    check_kind(options.weights, KINDS, "masks.weights")
    require_points(facts.point_names)


def require_points(names: tuple[str, ...]) -> None:
    """Raises InputError where there is nothing to prompt with."""
    if not names:
        raise InputError("masks: sam2 is prompted by the points, and there are none; name one on the subject")
