"""A SAM 2 session that is fed frame by frame and keeps only what later frames look at."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vswap_kernel.types import ByteArray, FloatArray
from vswap_pretrained.pictures import Normalisation

_SUBJECT = 1
"""The only object's number."""


class Sam2Session:
    """One subject in one video. `model` is a live `Sam2VideoModel` on `device`.

    transformers keeps all frames and all that was made of them. A frame looks at no more than the prompted frames, the
    last `num_maskmem` masks and the last `max_object_pointers_in_encoder` object pointers (Ravi et al., "SAM 2: Segment
    Anything in Images and Videos", 2024, section 4), so the rest is dropped here as the video goes by.
    """

    def __init__(self, model: Any, normalisation: Normalisation, size: tuple[int, int], device: str) -> None:
        """For frames of `size` (width, height)."""
        from transformers import Sam2VideoInferenceSession

        self._model, self._normalisation, self._size, self._device = model, normalisation, size, device
        self._side = int(model.config.image_size)
        self._reach = max(int(model.config.num_maskmem), int(model.config.max_object_pointers_in_encoder))
        self._session = Sam2VideoInferenceSession(
            video_height=size[1],
            video_width=size[0],
            inference_device=device,
            inference_state_device=device,
            video_storage_device=device,
            dtype=model.dtype,
        )
        self._subject = self._session.obj_id_to_idx(_SUBJECT)

    def prompt(self, index: int, frame: ByteArray, xy: FloatArray) -> Tensor:
        """Say that the subject is at the pixels xy [P, 2] of frame `index`, uint8 [H, W, 3]: as of `follow`."""
        points = torch.from_numpy(self.model_coordinates(xy))[None, None]
        labels = torch.ones(points.shape[:3], dtype=torch.int64)  # 1: on the object
        self._session.add_point_inputs(self._subject, index, {"point_coords": points, "point_labels": labels})
        self._session.obj_with_new_inputs = [_SUBJECT]
        return self.follow(index, frame, reverse=False)

    def follow(self, index: int, frame: ByteArray, reverse: bool) -> Tensor:
        """Mask logits float32 [h, w] of the next frame uint8 [H, W, 3], at the model's own resolution.

        Args:
            index: of the frame in the video.
            frame: its pixels.
            reverse: the frames come in falling order.
        """
        pixels = self._normalisation.pixels(frame[None], (self._side, self._side), "bilinear", self._device)
        made = self._model(inference_session=self._session, frame=pixels, frame_idx=index, reverse=reverse)
        logits: Tensor = made.pred_masks[0, 0].float().cpu()
        self._drop_unread(index)
        return logits

    def forget_followed(self) -> None:
        """Remember the prompted frames alone, before the other direction."""
        self._outputs["non_cond_frame_outputs"].clear()

    def model_coordinates(self, xy: FloatArray) -> FloatArray:
        """Pixels xy [P, 2] of the video as pixels of the model's square picture, centres at integers in both.

        The model adds half a pixel and divides by the side, so that a point has exactly its place in the frame.
        transformers' processor leaves the half pixel out, and so is off by up to half a pixel of the video.
        """
        scale = self._side / torch.tensor(self._size, dtype=torch.float32).numpy()
        placed: FloatArray = ((xy + 0.5) * scale - 0.5).astype("float32")
        return placed

    @property
    def _outputs(self) -> dict[str, dict[int, dict[str, Any]]]:
        outputs: dict[str, dict[int, dict[str, Any]]] = self._session.output_dict_per_obj[self._subject]
        return outputs

    def _drop_unread(self, index: int) -> None:
        """After frame `index`: its pixels, its mask at full size, and whatever is beyond reach of the next frame."""
        self._session.processed_frames.clear()
        followed = self._outputs["non_cond_frame_outputs"]
        for frame in [frame for frame in followed if abs(frame - index) >= self._reach]:
            del followed[frame]
        for outputs in self._outputs.values():
            for output in outputs.values():
                output.pop("high_res_masks", None)
