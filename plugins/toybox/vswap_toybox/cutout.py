"""A picture of a subject at rest on transparent ground: what a user brings as the new subject."""

from __future__ import annotations

import numpy as np

from vswap_kernel.types import Cutout
from vswap_toybox.affine import affine, apply, scaling
from vswap_toybox.anatomy import POINT_NAMES, Role
from vswap_toybox.painting import Canvas, corners, paint
from vswap_toybox.rendering import cover_to_bytes, subject_layers, to_bytes
from vswap_toybox.subject import Subject


def render_cutout(subject: Subject, *, width: int = 256, facing: float = 1.0, margin: int = 4) -> Cutout:
    """The subject alone, its parts at phase 0, neither turned nor squashed.

    Args:
        subject: what to draw.
        width: of the picture in pixels; its height follows from the subject.
        facing: 1 to look right, -1 to look left.
        margin: transparent pixels around it, two at least for the soft edge.

    Returns:
        The picture, straight alpha (pixels that aren't seen hold the subject's main colour), and its six points.
    """
    rest = np.zeros(1, np.float32)
    upright = scaling(facing, -1)[None]
    box = np.concatenate([corners(layer)[0] for layer in subject_layers(subject, rest, upright)])
    low, high = box.min(0), box.max(0)
    unit = (width - 2 * margin) / (high[0] - low[0])
    height = int(np.ceil((high[1] - low[1]) * unit)) + 2 * margin
    start = margin - 0.5 - unit * low
    place = affine(unit * facing, 0, start[0], 0, -unit, start[1])[None]
    canvas = Canvas(np.zeros((1, 3, height, width), np.float32), np.zeros((1, height, width), np.float32))
    for layer in subject_layers(subject, rest, place):
        paint(canvas, layer)
    alpha = canvas.cover[0][..., None]
    body = subject.palette[Role.PRIMARY]
    colour = np.where(alpha > 0, canvas.planes[0].transpose(1, 2, 0) / np.maximum(alpha, 1e-6), body)
    rgba = np.concatenate([to_bytes(colour), cover_to_bytes(alpha)], -1)
    return Cutout(rgba, POINT_NAMES, apply(place, subject.points(rest))[0].astype(np.float32))
