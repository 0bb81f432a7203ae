"""What `pose` knows before it loads a network: COCO's joints, and the kinds of model that will do."""

from __future__ import annotations

from vswap_kernel.api import Facts
from vswap_kernel.errors import InputError, nearest_first
from vswap_pretrained.kinds import check_kind
from vswap_trackers.options_models import PoseOptions

_SIDED = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
JOINTS = ("nose", *(f"{side}_{part}" for part in _SIDED for side in ("left", "right")))
"""In the order of the network's heatmaps (Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014)."""
POSE_KINDS = {"vitpose": "VitPoseForPoseEstimation"}
DETECTOR_KINDS = {"rt_detr": "RTDetrForObjectDetection", "rt_detr_v2": "RTDetrV2ForObjectDetection"}


def preflight(options: PoseOptions, facts: Facts) -> None:
    """Check the points' names and the kind of the models before anything is computed.

    Raises:
        InputError: a point that is no joint, or another kind of model.
    """
    require_joints(facts.point_names)
    check_kind(options.weights, POSE_KINDS, "tracker.weights")
    if options.detector is not None:
        check_kind(options.detector, DETECTOR_KINDS, "tracker.detector")


def require_joints(names: tuple[str, ...]) -> None:
    """Refuse points that are no joints.

    Raises:
        InputError: naming the first of them, and the joints.
    """
    for name in names:
        if name not in JOINTS:
            raise InputError(f"tracker pose: point {name!r} is none of COCO's joints; {nearest_first(name, JOINTS)}")
