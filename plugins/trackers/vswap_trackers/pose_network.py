"""ViTPose: the joints of the person in a box of each frame, and RT-DETR to find that box.

Xu et al., "ViTPose: Simple Vision Transformer Baselines for Human Pose Estimation" (NeurIPS 2022); boxes and heatmaps
are mapped as by Huang et al., "The Devil is in the Details: Delving into Unbiased Data Processing for Human Pose
Estimation" (CVPR 2020), and peaks refined as by Zhang et al., "Distribution-Aware Coordinate Representation for Human
Pose Estimation" (CVPR 2020).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from vswap_kernel.errors import InputError
from vswap_kernel.types import ByteArray, FloatArray
from vswap_pretrained.models import load_model
from vswap_pretrained.pictures import Normalisation
from vswap_trackers.pose_joints import DETECTOR_KINDS, JOINTS, POSE_KINDS

_MARGIN = 1.25
"""ViTPose sees a quarter more than the person's box."""
_SMOOTHING = 0.8
"""Heatmap cells; the blur before a peak is refined."""
_DETECTOR_SIDE = 640
_COCO_PART = 0
"""Which expert of a ViTPose+ network is for COCO."""


class PoseNetwork:
    """One loaded ViTPose."""

    def __init__(self, weights: Path, device: str) -> None:
        """Load it from a folder as transformers writes it.

        Raises:
            InputError: another kind of model, or one of other joints than COCO's.
        """
        self._model = load_model(weights, None, POSE_KINDS, "tracker.weights").to(device)
        self._device, backbone = device, self._model.config.backbone_config
        labels = int(self._model.config.num_labels)
        if labels != len(JOINTS):
            raise InputError(f"{weights}: a model of {labels} joints; expected COCO's {len(JOINTS)}")
        height, width = backbone.image_size
        self._size = (int(width), int(height))
        self._experts = int(backbone.num_experts) > 1
        self._colours = Normalisation.read(weights, None, "tracker.weights")

    @torch.no_grad()
    def joints(self, frames: ByteArray, boxes: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The joints of one person a frame.

        Args:
            frames: uint8 [n, H, W, 3] RGB.
            boxes: float32 [n, 4] pixels (left, top, right, bottom) around the person.

        Returns:
            xy float32 [n, 17, 2] pixels, and the heatmaps' scores float32 [n, 17], 0..1 for a trained network.
        """
        centre, extent = self._seen(boxes)
        crops = np.stack([self._crop(*one) for one in zip(frames, centre, extent, strict=True)])
        values = self._colours.pixels(crops, self._size[::-1], "bilinear", self._device)
        part = torch.full((len(frames),), _COCO_PART, device=self._device) if self._experts else None
        heatmaps = self._model(pixel_values=values, dataset_index=part).heatmaps.float().cpu().numpy()
        cells, score = peaks(heatmaps)
        last = np.array([heatmaps.shape[3] - 1, heatmaps.shape[2] - 1], np.float32)
        xy = centre[:, None] + (cells / last - 0.5) * extent[:, None]
        return xy.astype(np.float32), score

    def _seen(self, boxes: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Centre and extent [n, 2] of what the network sees: the boxes at its aspect, and the margin around."""
        sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
        aspect = self._size[0] / self._size[1]
        width = np.maximum(sides[:, 0], sides[:, 1] * aspect)
        extent = np.stack([width, width / aspect], axis=1) * _MARGIN
        return ((boxes[:, :2] + boxes[:, 2:]) / 2).astype(np.float32), extent.astype(np.float32)

    def _crop(self, frame: ByteArray, centre: FloatArray, extent: FloatArray) -> ByteArray:
        """What the network sees of a frame: uint8 [h, w, 3]; black beyond the frame's edge."""
        scale = extent / (np.array(self._size, np.float32) - 1)
        start = centre - extent / 2
        to_frame = np.array([[scale[0], 0, start[0]], [0, scale[1], start[1]]], np.float32)
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(frame, to_frame, self._size, flags=how), np.uint8)


def peaks(heatmaps: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Each heatmap's highest place, to a fraction of a cell, and its value.

    Around a peak the logarithm of a smoothed heatmap is taken as a paraboloid, whose top is one Newton step away.

    Args:
        heatmaps: float32 [n, J, h, w], at least 3 x 3.

    Returns:
        places float32 [n, J, 2] (x, y) cells, and values float32 [n, J].
    """
    count, joints, height, width = heatmaps.shape
    flat = heatmaps.reshape(-1, height, width)
    index = flat.reshape(len(flat), -1).argmax(axis=1)
    value = flat.reshape(len(flat), -1).max(axis=1)
    y, x = np.divmod(index, width)
    smooth = np.stack([np.asarray(cv2.GaussianBlur(one, (3, 3), _SMOOTHING)) for one in flat])
    depth = np.log(np.maximum(smooth, 1e-3))
    # one cell from the edge at least, so that all neighbours are there
    row, column = np.clip(y, 1, height - 2), np.clip(x, 1, width - 2)
    every = np.arange(len(flat))
    left, right = depth[every, row, column - 1], depth[every, row, column + 1]
    above, below = depth[every, row - 1, column], depth[every, row + 1, column]
    middle = depth[every, row, column]
    corners = [depth[every, row + dy, column + dx] * dx * dy for dy in (-1, 1) for dx in (-1, 1)]
    slope_x, slope_y = (right - left) / 2, (below - above) / 2
    bend_x, bend_y, twist = right + left - 2 * middle, below + above - 2 * middle, sum(corners) / 4
    determinant = bend_x * bend_y - twist**2
    fine = (determinant > 1e-6) & (bend_x < 0) & (row == y) & (column == x)
    safe = np.where(fine, determinant, 1.0)
    step_x = -(bend_y * slope_x - twist * slope_y) / safe
    step_y = -(bend_x * slope_y - twist * slope_x) / safe
    places = np.stack([x, y], axis=1) + np.where(fine[:, None], np.clip(np.stack([step_x, step_y], 1), -1, 1), 0)
    return places.reshape(count, joints, 2).astype(np.float32), value.reshape(count, joints).astype(np.float32)


class PersonDetector:
    """One loaded RT-DETR (Zhao et al., "DETRs Beat YOLOs on Real-time Object Detection", CVPR 2024)."""

    def __init__(self, weights: Path, device: str) -> None:
        """Load it from a folder as transformers writes it.

        Raises:
            InputError: another kind of model, or one that knows no persons.
        """
        self._model, self._device = load_model(weights, None, DETECTOR_KINDS, "tracker.detector").to(device), device
        names = {str(name).lower(): int(number) for number, name in self._model.config.id2label.items()}
        if "person" not in names:
            raise InputError(f"{weights}: a detector without the class person; use one trained on COCO")
        self._person = names["person"]

    @torch.no_grad()
    def persons(self, frames: ByteArray) -> tuple[FloatArray, FloatArray]:
        """What may be persons in frames uint8 [n, H, W, 3]: boxes float32 [n, K, 4] pixels (left, top, right, bottom)
        and their scores float32 [n, K], K as many as the network tells of, most of them nothing."""
        side = (_DETECTOR_SIDE, _DETECTOR_SIDE)
        small = np.stack([np.asarray(cv2.resize(one, side, interpolation=cv2.INTER_LINEAR)) for one in frames])
        values: Any = torch.from_numpy(small.transpose(0, 3, 1, 2).copy()).to(self._device).float() / 255
        answer = self._model(pixel_values=values)
        score = answer.logits[..., self._person].sigmoid().float().cpu().numpy()
        centre, sides = np.split(answer.pred_boxes.float().cpu().numpy(), 2, axis=2)
        scale = np.array([frames.shape[2], frames.shape[1]] * 2, np.float32)
        boxes = np.concatenate([centre - sides / 2, centre + sides / 2], axis=2) * scale - 0.5
        return boxes.astype(np.float32), score
