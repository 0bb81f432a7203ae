"""The state of points that are followed by their features in one direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vswap_kernel.types import BoolArray, FloatArray, PointQueries
from vswap_trackers.group_motion import Similarity, fit_similarity
from vswap_trackers.register import FeatureMatchOptions
from vswap_trackers.visibility import VisibilityRule

if TYPE_CHECKING:
    from torch import Tensor

_FOLLOW = 0.1
"""How fast the recent features follow what is seen: about ten frames."""
_WIDER = 4
"""How many times wider the window of a hidden point is."""
_FARTHER = 0.1
"""Cosine by which a place at the window's edge must fit better than one in its middle."""
_PEAK = 0.05
"""Cosine by which a cell beside the best has 1/e of its weight."""


class FeatureWalk:
    """N points walking through feature maps; they join at their keyframes.

    Attributes:
        xy: float32 [N, 2] pixels of the video.
        carried: float32 [N, 2], where the common motion alone takes them.
        trust: float32 [N] in 0..1.
        visible: bool [N].
    """

    def __init__(
        self, queries: PointQueries, size: tuple[int, int], options: FeatureMatchOptions, rule: VisibilityRule
    ) -> None:
        count = len(queries.names)
        self._queries, self._size, self._options, self._rule = queries, size, options, rule
        self.xy, self.carried = queries.xy.copy(), queries.xy.copy()
        self.trust: FloatArray = np.zeros(count, np.float32)
        self.visible, self._joined = np.zeros(count, bool), np.zeros(count, bool)
        self._key: Tensor | None = None
        self._recent: Tensor | None = None
        self._before: Tensor | None = None

    def advance(self, maps: Tensor, t: int) -> None:
        """Move all joined points into frame number t, whose features are maps [C, h, w], and let those join whose
        keyframe it is."""
        from torch.nn.functional import normalize

        maps = normalize(maps.float(), dim=0)
        if self._key is None or self._recent is None:
            self._key = maps.new_zeros(len(self.xy), len(maps))
            self._recent = self._key.clone()
        if self._before is not None and self._joined.any():
            self._move(self._before, maps, self._key, self._recent)
        new = self._queries.frame == t
        self._key[new] = self._recent[new] = self._features(maps, self.xy[new])
        self._joined, self.visible = self._joined | new, self.visible | new
        self.trust[new] = 1.0
        self._before = maps

    def _move(self, before: Tensor, maps: Tensor, key: Tensor, recent: Tensor) -> None:
        reach = self._options.window * np.where(self.visible, 1, _WIDER).astype(np.float32)
        place = self._sought([key, recent], maps, self.xy, reach)
        found = self._features(maps, place)
        likeness = (found * key).sum(1).cpu().numpy()
        back = self._sought([found], before, self.xy, reach)
        # of a point that was hidden in the frame before there is no way back: it must be all the more alike
        miss = np.where(self.visible, np.linalg.norm(back - self.xy, axis=1), np.float32(0.0))
        trust = self._rule.trust(1.0, miss, likeness)
        seen = self._joined & self._rule.decide(trust, self.visible)
        both = seen & self.visible
        motion = fit_similarity(self.xy[both], place[both]) if both.any() else Similarity()
        # what parts from the others by so much in one frame is something else that looks alike
        cell = max(self._size[0] / maps.shape[2], self._size[1] / maps.shape[1])
        seen &= np.linalg.norm(place - motion.apply(self.xy), axis=1) <= np.maximum(reach / 2, cell)
        joined = self._joined[:, None]
        self.carried = np.where(joined, motion.apply(self.carried), self.xy)
        place = np.where(seen[:, None], place, motion.apply(self.xy))
        recent[seen] = (1 - _FOLLOW) * recent[seen] + _FOLLOW * found[seen]
        self.xy = np.where(joined, place, self.xy).astype(np.float32)
        self.trust, self.visible = np.where(self._joined, trust, self.trust), seen

    def _sought(self, templates: list[Tensor], maps: Tensor, xy: FloatArray, reach: FloatArray) -> FloatArray:
        """The place [N, 2] within reach [N] pixels of xy [N, 2] where maps [C, h, w] are most like one of each point's
        templates, each [N, C]."""
        rows, columns = maps.shape[1:]
        flat = maps.flatten(1)
        cosine = np.max([(each @ flat).cpu().numpy() for each in templates], axis=0)
        cells = _centres(rows, columns, self._size)
        cell = np.array(self._size, np.float32) / (columns, rows)
        # at least the cells around the one that the point is in
        near: BoolArray = (np.abs(cells - xy[:, None]) <= np.maximum(reach[:, None, None], cell)).all(-1)
        near[np.arange(len(xy)), np.square(cells - xy[:, None]).sum(-1).argmin(1)] = True
        away = np.square((cells - xy[:, None]) / reach[:, None, None]).sum(-1)
        best = np.where(near, cosine - _FARTHER * away, -np.inf).argmax(axis=1)
        top = np.take_along_axis(cosine, best[:, None], axis=1)
        around = (np.abs(cells - cells[best][:, None]) <= 1.5 * cell).all(-1)
        weight = np.where(around, np.exp((np.minimum(cosine, top) - top) / _PEAK), 0)
        place = weight @ cells / weight.sum(axis=1, keepdims=True)
        return np.asarray(place, np.float32)

    def _features(self, maps: Tensor, xy: FloatArray) -> Tensor:
        """Unit features [K, C] at places [K, 2], bilinear."""
        from torch.nn.functional import grid_sample, normalize

        place = 2 * (xy + 0.5) / np.array(self._size, np.float32) - 1
        grid = maps.new_tensor(place.astype(np.float32))[None, None]
        sampled = grid_sample(maps[None], grid, padding_mode="border", align_corners=False)
        return normalize(sampled[0, :, 0].T, dim=1)


def _centres(rows: int, columns: int, size: tuple[int, int]) -> FloatArray:
    """Pixels float32 [rows * columns, 2] at which the cells' centres lie, rows first."""
    across = (np.arange(columns, dtype=np.float32) + 0.5) * size[0] / columns - 0.5
    down = (np.arange(rows, dtype=np.float32) + 0.5) * size[1] / rows - 0.5
    return np.stack([np.tile(across, rows), np.repeat(down, columns)], axis=1)
