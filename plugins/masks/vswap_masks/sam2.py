"""`sam2`: the object that the user's points are on, by Segment Anything 2 (Ravi et al., 2024; Apache-2.0)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import log

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vswap_kernel.api import Context
from vswap_kernel.errors import InputError
from vswap_kernel.types import BoolArray, ByteArray, Masks, PointQueries, Video
from vswap_masks.grow import grow_and_feather
from vswap_masks.register import Sam2Options
from vswap_masks.sam2_session import Sam2Session
from vswap_masks.sam2_weights import KINDS, require_points
from vswap_pretrained.models import load_model
from vswap_pretrained.pictures import Normalisation

_CHUNK = 16
_FIELD = "masks.weights"


class Sam2:
    """Masker that is prompted by the points themselves, each on its own keyframe, as clicks on one object.

    From the first keyframe the object is followed forwards to the end, and backwards to the start; both begin with the
    memory of the prompted frames alone. Where the model says that the object is hidden, the mask is empty.

    No published weights were at hand when this was written: it is tested on a small random model of the same classes
    and files, which shows that prompts, frames and masks are in their places, and nothing of the masks' quality.
    """

    def __init__(self, options: Sam2Options, context: Context) -> None:
        self._options, self._context = options, context

    def segment(self, video: Video, queries: PointQueries, /) -> Masks:
        """Masks of the video's size and length.

        Raises:
            InputError: the weights can't be read; there is no point; nothing is found at the points.
            MissingExtraError: transformers is too old.
        """
        require_points(queries.names)
        session, scratch = self._session(video.size), self._context.scratch
        prompted = self._prompt(session, video, queries)
        first = min(prompted)
        before = None
        if first > 0:
            backwards = self._followed(session, video, range(first - 1, -1, -1), {})
            before = Masks.stream(backwards, scratch / "backwards.safetensors")
        session.forget_followed()
        forwards = self._followed(session, video, range(first, len(video)), prompted)
        return Masks.stream(_in_order(before, forwards), scratch / "masks.safetensors")

    def _session(self, size: tuple[int, int]) -> Sam2Session:
        options, context = self._options, self._context
        model = load_model(options.weights, options.hub_revision, KINDS, _FIELD)
        normalisation = Normalisation.read(options.weights, options.hub_revision, _FIELD)
        model = model.to(context.device, getattr(torch, context.dtype))
        return Sam2Session(model, normalisation, size, context.device)

    def _prompt(self, session: Sam2Session, video: Video, queries: PointQueries) -> dict[int, Tensor]:
        """Mask logits [h, w] of each keyframe, in order."""
        prompted = {}
        for index in np.unique(queries.frame).tolist():
            prompted[index] = session.prompt(index, video.frames[index], queries.xy[queries.frame == index])
        if not any(self._subject(logits, video.size).any() for logits in prompted.values()):
            raise InputError(
                f"{self._options.weights}: no object is found at the points on frame {min(prompted)}; choose another "
                "keyframe, or give masks by masks.name files"
            )
        return prompted

    def _followed(
        self, session: Sam2Session, video: Video, order: range, prompted: Mapping[int, Tensor]
    ) -> Iterator[ByteArray]:
        """Masks in chunks [n, H, W], in `order`, with the family's edge; frames that were prompted have theirs."""
        options, reverse = self._options, order.step < 0
        done = 0 if reverse else order.start
        for chunk in (order[i : i + _CHUNK] for i in range(0, len(order), _CHUNK)):
            subject = []
            for index in chunk:
                logits = prompted.get(index)
                if logits is None:
                    logits = session.follow(index, video.frames[index], reverse)
                subject.append(self._subject(logits, video.size))
            video.release()
            done += len(chunk)
            self._context.progress(done, len(video), "following the subject")
            yield grow_and_feather(np.stack(subject), options.grow, options.feather)

    def _subject(self, logits: Tensor, size: tuple[int, int]) -> BoolArray:
        """Where the subject is likely enough, bool [H, W], of logits [h, w]; bilinear, as SAM 2 does."""
        full = interpolate(logits[None, None], (size[1], size[0]), mode="bilinear")[0, 0]
        threshold = self._options.threshold
        return np.asarray((full > log(threshold / (1 - threshold))).numpy(), bool)


def _in_order(before: Masks | None, forwards: Iterator[ByteArray]) -> Iterator[ByteArray]:
    """Chunks of all frames in rising order: those of `before` come from its end."""
    if before is not None:
        for stop in range(len(before), 0, -_CHUNK):
            yield np.ascontiguousarray(before.frames[max(0, stop - _CHUNK) : stop][::-1])
            before.release()
    yield from forwards
