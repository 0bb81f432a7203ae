"""The checks: each takes (make, case, empty folder) and raises AssertionError with what was expected and what came."""

from vswap_kernel.testing.checks.canonical import check_canonical_move, check_canonical_unknown_point
from vswap_kernel.testing.checks.checking import CHECKS, Check, Listed, check, expect
from vswap_kernel.testing.checks.memory import check_tracker_flat_memory
from vswap_kernel.testing.checks.pictures import (
    check_concept_cutout,
    check_masks_overlap,
    check_masks_shape,
    check_metrics_numbers,
    check_swapper_result,
    check_swapper_with_less,
)
from vswap_kernel.testing.checks.repeating import check_prepared_folder, check_repeats
from vswap_kernel.testing.checks.tracking import (
    check_tracker_accuracy,
    check_tracker_any_keyframe,
    check_tracker_extremes,
    check_tracker_hidden,
    check_tracker_shape,
    check_tracker_thousand_points,
)

__all__ = [
    "CHECKS",
    "Check",
    "Listed",
    "check",
    "check_canonical_move",
    "check_canonical_unknown_point",
    "check_concept_cutout",
    "check_masks_overlap",
    "check_masks_shape",
    "check_metrics_numbers",
    "check_prepared_folder",
    "check_repeats",
    "check_swapper_result",
    "check_swapper_with_less",
    "check_tracker_accuracy",
    "check_tracker_any_keyframe",
    "check_tracker_extremes",
    "check_tracker_flat_memory",
    "check_tracker_hidden",
    "check_tracker_shape",
    "check_tracker_thousand_points",
    "expect",
]
