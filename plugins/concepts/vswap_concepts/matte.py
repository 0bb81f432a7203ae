"""Cleaning of a cut-out's edge, so that it leaves no halo of its old background."""

from __future__ import annotations

import cv2
import numpy as np

from vswap_kernel.types import ByteArray

_SOLID = 0.9  # alpha from which a pixel's colour is the subject's own
_RIM = 0.006  # of the picture's longer side: the depth to which a cut-out's edge shows its old background


def largest_component(alpha: ByteArray) -> ByteArray:
    """Alpha uint8 [H, W] with everything that doesn't touch its weightiest piece taken away."""
    count, labels = cv2.connectedComponents((alpha > 0).astype(np.uint8))
    if count < 3:
        return alpha
    weight = np.bincount(labels.ravel(), weights=alpha.ravel(), minlength=count)
    return np.asarray(np.where(labels == int(np.argmax(weight)), alpha, 0), np.uint8)


def tightened(alpha: ByteArray) -> ByteArray:
    """A network's smeared alpha with its ramp made steep, and a little inside of where it was."""
    ramp = (alpha.astype(np.float32) / 255 - 0.5) / 0.4
    return np.asarray(np.rint(ramp.clip(0, 1) * 255), np.uint8)


def decontaminated(rgb: ByteArray, alpha: ByteArray) -> ByteArray:
    """rgb uint8 [H, W, 3] in which pixels at the edge and beyond have the colour of the nearest pixel well inside.

    Parts too thin to have such an inside keep their own colour.
    """
    rim = max(1, round(_RIM * max(alpha.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1))
    solid = (alpha >= _SOLID * 255).astype(np.uint8)
    inner = cv2.erode(solid, disc)
    reached = cv2.dilate(inner, cv2.resize(disc, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST))
    source = np.where(reached > 0, inner, solid)
    if not source.any():
        return rgb
    _, label = cv2.distanceTransformWithLabels(1 - source, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    colour_of = np.zeros((int(label.max()) + 1, 3), np.uint8)
    colour_of[label[source > 0]] = rgb[source > 0]
    spread = cv2.GaussianBlur(colour_of[label], (0, 0), 1.0)
    return np.asarray(np.where(source[..., None] > 0, rgb, spread), np.uint8)
