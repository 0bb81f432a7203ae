"""Writes the network as an ONNX file of any number of frames, points and pixels, and tries it.

Weights are stored in float16, which halves the file, and cast to float32 when it is opened: all is computed in float32.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from safetensors import safe_open
from torch import Tensor

from vswap_toybox.tracking.model import ToyTrack

OPSET = 18
_EXAMPLE = (6, 64, 80, 5)  # frames, height, width, points: all different, so that none is mistaken for another
_LARGE = 256  # numbers from which on a weight is stored in float16


def export(model: ToyTrack, path: Path, about: Mapping[str, str] | None = None) -> int:
    """Write `model`, its weights rounded to float16, to `path`; the file appears under its name when it is complete.

    Args:
        model: what is exported, with its own number of iterations.
        path: of the file; folders are made.
        about: what the file says of itself, by key.

    Returns:
        Its size in bytes.
    """
    video, queries = _example(*_EXAMPLE)
    dynamic = torch.export.Dim.DYNAMIC
    shapes = {"video": {1: dynamic, 3: dynamic, 4: dynamic}, "queries": {1: dynamic}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own dependencies
        program: Any = torch.onnx.export(
            rounded(model),
            (video, queries),
            input_names=["video", "queries"],
            output_names=["tracks", "visibility"],
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    graph = program.model_proto
    _strip(graph)
    _store_in_half(graph)
    onnx.helper.set_model_props(graph, dict(about or {}))
    onnx.checker.check_model(graph)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{os.getpid()}.{path.name}")
    part.write_bytes(graph.SerializeToString())
    part.replace(path)
    return path.stat().st_size


def read_mean(path: Path, model: ToyTrack) -> None:
    """Give `model` the moving mean of the weights that a checkpoint holds."""
    with safe_open(path, "pt") as file, torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(file.get_tensor(f"mean/{name}"))


def rounded(model: ToyTrack) -> ToyTrack:
    """The network that an exported file holds: large weights are rounded to float16."""
    held = copy.deepcopy(model).eval()
    with torch.no_grad():
        for parameter in held.parameters():
            if parameter.numel() >= _LARGE:
                parameter.copy_(parameter.half().float())
    return held


def disagreement(model: ToyTrack, path: Path, frames: int, height: int, width: int, points: int) -> float:
    """The largest difference between the answers of network and file for a random clip of that shape: pixels of
    places, or likelihood of visibility."""
    import onnxruntime

    video, queries = _example(frames, height, width, points)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {"video": video.numpy(), "queries": queries.numpy()})
    with torch.no_grad():
        wanted = rounded(model)(video, queries)
    return max(float(np.abs(got - want.numpy()).max()) for got, want in zip(found, wanted, strict=True))


def _strip(graph: Any) -> None:
    """Take away the traces that the exporter leaves in every node: more bytes than the weights."""
    for held in (graph.graph.node, graph.graph.initializer, graph.graph.input, graph.graph.output):
        for item in held:
            del item.metadata_props[:]
            item.doc_string = ""
    del graph.graph.value_info[:], graph.graph.metadata_props[:], graph.metadata_props[:]


def _store_in_half(graph: Any) -> None:
    for weight in graph.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < _LARGE:
            continue
        name = weight.name
        weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        cast = onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT)
        graph.graph.node.insert(0, cast)


def _example(frames: int, height: int, width: int, points: int) -> tuple[Tensor, Tensor]:
    """A smooth picture that moves, and points in frames drawn."""
    draw = torch.Generator().manual_seed(0)
    grain = torch.rand(1, 3, height // 4 + frames, width // 4 + frames, generator=draw) * 255
    picture = torch.nn.functional.interpolate(grain, scale_factor=4, mode="bilinear")
    shifts = [picture[:, :, 2 * t : 2 * t + height, t : t + width] for t in range(frames)]
    frame = torch.randint(0, frames, (1, points, 1), generator=draw).float()
    place = torch.rand(1, points, 2, generator=draw) * torch.tensor([width - 1, height - 1])
    return torch.stack(shifts, 1), torch.cat([frame, place], -1)
