"""`learned` and `position`: points that nobody looked at. Ablations of VideoSwap (arXiv 2312.02087, section 4).

What reads embeddings [P, D] learns a linear layer on them first (the point adapter, during registration), so fixed
vectors are enough for both. Neither needs a model, nor looks at the video.
"""

from __future__ import annotations

import numpy as np

from vswap_kernel.api import Context, NoOptions
from vswap_kernel.types import FloatArray, PointEmbeddings, PointTracks, Video


def _seen_by_tracker(tracks: PointTracks, vectors: FloatArray, space: str) -> PointEmbeddings:
    """Embeddings of these vectors [P, D]: kept wherever the tracker sees a point, as no feature says otherwise."""
    keep = tracks.visible.copy()
    return PointEmbeddings(tracks.names, vectors, keep.sum(0).astype(np.int32), keep, space)


class Learned:
    """Implements `vswap_kernel.protocols.Embedder`: a free vector of its own for each point.

    Point i has the unit vector e_i, so D = P. A linear layer W e_i + b gives column i of W, which no other point
    touches: that column *is* the freely learned embedding.
    """

    def __init__(self, options: NoOptions, context: Context) -> None:
        pass

    def embed(self, video: Video, tracks: PointTracks, subject: str, /) -> PointEmbeddings:
        """Unit vectors [P, P]; the space names the points in order, for a column learnt means nothing for another."""
        names = tracks.names
        return _seen_by_tracker(tracks, np.eye(len(names), dtype=np.float32), f"learned:{','.join(names)}")


class Position:
    """Implements `vswap_kernel.protocols.Embedder`: only where points are, not which is which.

    All points have the same vector [1], so D = 1, and what is learned is that some point is there.
    """

    def __init__(self, options: NoOptions, context: Context) -> None:
        pass

    def embed(self, video: Video, tracks: PointTracks, subject: str, /) -> PointEmbeddings:
        """Ones [P, 1]."""
        return _seen_by_tracker(tracks, np.ones((len(tracks.names), 1), np.float32), "position")
