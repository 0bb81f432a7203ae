"""Cuts a picture's subject out with U^2-Net (Qin et al., "U^2-Net: Going Deeper with Nested U-Structure for Salient
Object Detection", Pattern Recognition 2020) in ONNX."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from vswap_kernel.errors import InputError, MissingExtraError
from vswap_kernel.types import ByteArray

_SIDE = 320
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def segment(rgb: ByteArray, model: Path) -> ByteArray:
    """Alpha uint8 [H, W] of the subject of a picture uint8 [H, W, 3].

    Raises:
        MissingExtraError: onnxruntime isn't installed.
        InputError: the file isn't a U^2-Net model.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError(
            "concept 'photo', field \"model\": onnxruntime isn't installed; pip install 'vswap[onnx]'"
        ) from None
    scaled = cv2.resize(rgb, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    batch = ((scaled / max(float(scaled.max()), 1.0) - _MEAN) / _DEVIATION).transpose(2, 0, 1)[None]
    try:
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        (found, *_) = session.run(None, {session.get_inputs()[0].name: batch})
        saliency = np.asarray(found, np.float32).reshape(_SIDE, _SIDE)
    except Exception as error:  # onnxruntime has no common base for its errors
        line = str(error).splitlines()[0]
        raise InputError(f"{model}: not a U^2-Net model with input 1x3x320x320 ({line})") from None
    low, high = float(saliency.min()), float(saliency.max())
    alpha = cv2.resize((saliency - low) / max(high - low, 1e-6), rgb.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.rint(alpha.clip(0, 1) * 255), np.uint8)
