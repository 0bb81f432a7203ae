"""From all that was found in a video to the subject's masks: what maskers that find things in single frames share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from vswap_kernel.errors import InputError
from vswap_kernel.types import BoolArray, ByteArray, Masks, PointQueries
from vswap_masks.components import follow_subject, label_parts
from vswap_masks.grow import grow_and_feather
from vswap_masks.register import FoundOptions

_CHUNK = 16


def subject_masks(
    found: Masks, queries: PointQueries, options: FoundOptions, progress: Callable[..., None], missing: str
) -> Iterator[ByteArray]:
    """Masks in chunks [n, H, W], with the family's edge: of the parts that hold the points, followed through time, or
    of all that was found.

    Raises:
        InputError: nothing is found at the points; `missing` says so, and the frame is added.
    """
    keep_all = options.keep == "all" or not queries.names
    kept = None if keep_all else _followed(found, queries, progress, missing)
    for start, masks in found.chunks(_CHUNK):
        subject = masks > 0
        if kept is not None:
            parts = zip(subject, kept[start : start + len(masks)], strict=True)
            subject = np.stack([np.isin(label_parts(mask), labels) for mask, labels in parts])
        yield grow_and_feather(subject, options.grow, options.feather)


def _followed(
    found: Masks, queries: PointQueries, progress: Callable[..., None], missing: str
) -> list[np.ndarray[tuple[int, ...], np.dtype[np.int32]]]:
    """The labels of the parts to keep in each frame."""

    def mask_of(t: int) -> BoolArray:
        return np.asarray(found.frames[t] > 0)

    def report(done: int) -> None:
        progress(done, len(found), "following the subject")
        if done % _CHUNK == 0:
            found.release()

    kept = follow_subject(mask_of, len(found), queries, report)
    if not any(len(labels) for labels in kept):
        raise InputError(
            f"{missing} at the points on frame {queries.frame.min()}; choose another keyframe, set masks.keep to all, "
            "or give masks by masks.name files"
        )
    return kept
