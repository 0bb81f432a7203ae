"""From the features of points in every frame to one vector a point: what embedders that look at frames share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vswap_embedders.sampling import mean_embedding, similarity_to_keyframe
from vswap_kernel.types import PointEmbeddings, PointTracks


def keyframes(tracks: PointTracks) -> Tensor:
    """The keyframe of each point, int64 [N]; where nobody knows, the first frame in which it is most certain."""
    if tracks.keyframe is not None:
        return torch.from_numpy(tracks.keyframe.astype(np.int64))
    return torch.from_numpy(np.where(tracks.visible, tracks.confidence, -1).argmax(0))


def mean_over_kept(
    vectors: Tensor, tracks: PointTracks, seen: Tensor, threshold: float | None, space: str
) -> PointEmbeddings:
    """Embeddings of the space named: means over the frames where a point is kept (method, step 1.4).

    Args:
        vectors: float32 [T, N, C], the features of the points of `tracks`.
        tracks: whose names and keyframes count.
        seen: bool [T, N], the frames that may be kept.
        threshold: the least cosine to the feature on the keyframe that a point is kept at; None: any.
    """
    keyframe, keep = keyframes(tracks), seen
    if threshold is not None:
        keep = keep & (similarity_to_keyframe(vectors, keyframe) >= threshold)
    means = mean_embedding(vectors, keep, keyframe)
    support = keep.sum(0).to(torch.int32).numpy()
    return PointEmbeddings(tracks.names, means.numpy(), support, keep.numpy(), space)
