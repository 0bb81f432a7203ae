"""Bringing the frames in line with the atlas: the flow from a frame to its own rendering tells where its map is off."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch

from vswap_canonical.atlas.clip import Clip
from vswap_canonical.atlas.model import Atlas
from vswap_canonical.atlas.start import Anchors, refitted, sampled
from vswap_canonical.flow_pairs import comes_back
from vswap_kernel.types import ByteArray
from vswap_optical_flow.dense_flow import DenseFlow


@torch.no_grad()
def register(atlas: Atlas, clip: Clip, told: Callable[[int], None]) -> None:
    """Fit every frame's maps anew, to where its rendering has what the frame shows: maps that only followed the flow
    from frame to frame have drifted. `told` is called with the number of frames done."""
    flow, anchors = DenseFlow(), Anchors.of(clip)
    area = clip.subject.sum((1, 2))
    nearest_first = np.argsort(-area, kind="stable").tolist()
    for t, frame in enumerate(clip.frames):
        rendered = (atlas.render(t)[0] * 255).round().byte().numpy()
        grey, grey_rendered = (_grey(picture) for picture in (frame, rendered))
        ahead, back = flow.between(grey, grey_rendered), flow.between(grey_rendered, grey)
        holds = comes_back(ahead, back, 1.0)
        for layer, inner in ((atlas.subject, clip.subject[t]), (atlas.background, clip.behind[t])):
            xy = sampled(holds & inner)
            there = torch.from_numpy((xy + ahead[xy[:, 1], xy[:, 0]]).astype(np.float32))
            goal = layer.uv(torch.full((len(xy),), t), there)
            tied = anchors if layer is atlas.subject else anchors.none()
            layer.control[t] = refitted(layer, t, clip, xy, goal, tied.goals(layer, t, nearest_first))
        told(t + 1)


def _grey(picture: ByteArray) -> ByteArray:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
