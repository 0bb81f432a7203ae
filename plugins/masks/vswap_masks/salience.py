"""A U^2-Net in ONNX: how likely each pixel belongs to the salient subject of a picture.

Qin et al., "U^2-Net: Going Deeper with Nested U-Structure for Salient Object Detection" (Pattern Recognition 2020), and
"Highly Accurate Dichotomous Image Segmentation" (IS-Net, ECCV 2022). Input and output are treated as rembg does, whose
files these are.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from vswap_kernel.errors import InputError
from vswap_kernel.types import ByteArray, FloatArray

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = {"imagenet": np.array([0.229, 0.224, 0.225], np.float32), "isnet": np.ones(3, np.float32)}
_USUAL_SIDE = 320
_THREADS = 4
"""Fixed, because the order of summation, and with it the last bits, depends on their number."""


class SalienceModel:
    """One loaded model."""

    def __init__(self, path: Path, normalisation: str, device: str) -> None:
        """Load the model; `device` as in `Context`; a GPU is used where onnxruntime has one.

        Raises:
            InputError: not an ONNX file, or not a model from pictures [1, 3, H, W] to masks [1, 1, H, W].
        """
        self._path, self._deviation = path, _DEVIATION[normalisation]
        self._session = _open_session(path, device)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[1] not in (3, "3") or not outputs:
            shapes = ", ".join(f"{value.name} {value.shape}" for value in inputs)
            raise InputError(f"{path}: expected one input [1, 3, H, W], got {shapes or 'none'}; use a U^2-Net")
        self._input, self._output = inputs[0].name, outputs[0].name
        height, width = (side if isinstance(side, int) else _USUAL_SIDE for side in inputs[0].shape[2:])
        self._size = (width, height)

    def likelihood(self, frame: ByteArray) -> FloatArray:
        """Likelihood 0..1, stretched to the whole range, float32 [H, W], of the subject in `frame` [H, W, 3] RGB."""
        small = np.asarray(cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA), np.float32)
        picture = (small / max(float(small.max()), 1e-6) - _MEAN) / self._deviation
        feed = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
        answer = np.asarray(self._session.run([self._output], {self._input: feed})[0], np.float32)
        if answer.ndim != 4 or answer.shape[:2] != (1, 1):
            raise InputError(f"{self._path}: answers {list(answer.shape)}, expected [1, 1, H, W]; use a U^2-Net")
        low, high = float(answer.min()), float(answer.max())
        stretched = (answer[0, 0] - low) / max(high - low, 1e-6)
        full = cv2.resize(stretched, frame.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        return np.clip(np.asarray(full, np.float32), 0.0, 1.0)


def _open_session(path: Path, device: str) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = _THREADS
    settings.inter_op_num_threads = 1
    # waiting threads that spin take the cores from each other where there are fewer cores than threads
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 3
    wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
    available = set(onnxruntime.get_available_providers())
    providers = [name for name in wanted if name in available] + ["CPUExecutionProvider"]
    # its errors share no base class that is public, and a broken file may raise any of them
    try:
        return onnxruntime.InferenceSession(str(path), settings, providers=providers)
    except Exception as error:
        reason = str(error).splitlines()[0].rpartition(":")[2].strip()
        raise InputError(f"{path}: not a usable ONNX model ({reason}); u2netp.onnx of rembg is one") from error
