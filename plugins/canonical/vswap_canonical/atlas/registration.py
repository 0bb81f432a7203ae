"""Bringing the frames in line with the atlas: the flow from each frame to its own rendering tells where a map is off."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch

from vswap_canonical.atlas.clip import Clip
from vswap_canonical.atlas.model import Atlas
from vswap_canonical.atlas.start import fitted, sampled
from vswap_canonical.flow_pairs import comes_back
from vswap_kernel.types import ByteArray
from vswap_optical_flow.dense_flow import DenseFlow

_FEWEST = 12


@torch.no_grad()
def register(atlas: Atlas, clip: Clip, told: Callable[[int], None]) -> None:
    """Fit every frame's maps anew, to where its rendering has what the frame shows: maps that only followed the flow
    from frame to frame have drifted. `told` is called with the number of frames done."""
    flow = DenseFlow()
    for t, frame in enumerate(clip.frames):
        rendered = (atlas.render(t)[0] * 255).round().byte().numpy()
        grey, grey_rendered = (_grey(picture) for picture in (frame, rendered))
        ahead, back = flow.between(grey, grey_rendered), flow.between(grey_rendered, grey)
        holds = comes_back(ahead, back, 1.0)
        for layer, inner in ((atlas.subject, clip.subject[t]), (atlas.background, clip.behind[t])):
            xy = sampled(holds & inner)
            if len(xy) < _FEWEST:
                continue
            there = torch.from_numpy((xy + ahead[xy[:, 1], xy[:, 0]]).astype(np.float32))
            goal = layer.uv(torch.full((len(xy),), t), there)
            layer.control[t] = fitted(layer, t, torch.from_numpy(xy.astype(np.float32)), goal)
        told(t + 1)


def _grey(picture: ByteArray) -> ByteArray:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
