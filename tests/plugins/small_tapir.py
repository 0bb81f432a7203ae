"""The two files of Causal BootsTAPIR with the inputs, outputs and shapes recorded of the real ones, and in them the
small tracker of `small_matcher`, which follows points on any video, roughly."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from small_matcher import CHANNELS, STATE, advanced, begun, described, filters, read

SIDE, HALF = 256, 128
OPSET = 17


class Model(nn.Module):
    """It looks at the frame at half its size, whose maps are as fine as the real grid of 64 x 64 cells."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Parameter(filters())

    def forward(self, input_frame: Tensor, query_feats: Tensor, hires_query_feats: Tensor, causal_state: Tensor) -> Any:
        maps = described(avg_pool2d((input_frame + 1) / 2, 2)[0], self.filters)
        key, xy = hires_query_feats[0, :, :CHANNELS], query_feats[0, :, :2] / 2
        carried = causal_state[0, 0, :, 0, :STATE]
        empty = (carried == 0).all(1, keepdim=True)
        state = torch.where(empty, begun(xy, key), advanced(maps, (HALF, HALF), key, carried))
        stored = pad(state, (0, causal_state.shape[4] - STATE))[None, None, :, None]
        hires = pad(maps.permute(1, 2, 0), (0, hires_query_feats.shape[2] - CHANNELS))[None]
        grid = torch.zeros(1, SIDE // 8, SIDE // 8, query_feats.shape[2]) + 0 * input_frame.sum()
        tracks = 2 * state[None, :, :2]
        return tracks, state[None, :, 4] > 0, stored + 0 * causal_state, grid, hires


class Encoder(nn.Module):
    def forward(self, query_points: Tensor, feature_grid: Tensor, hires_feats_grid: Tensor) -> Any:
        xy = query_points[0].flip(1)
        described_there = read(hires_feats_grid[0, :, :, :CHANNELS].permute(2, 0, 1), xy / 2)
        coarse = pad(xy, (0, feature_grid.shape[3] - 2))[None] + 0 * feature_grid.sum()
        return coarse, pad(described_there, (0, hires_feats_grid.shape[3] - CHANNELS))[None]


def tapir_files(folder: Path) -> dict[str, Path]:
    """Both files, by option; they take any number of points."""
    points = 3
    grids = {"feature_grid": torch.rand(1, 32, 32, 256), "hires_feats_grid": torch.rand(1, 64, 64, 128)}
    given = {"query_points": torch.rand(1, points, 2), **grids}
    described = {"query_feats": torch.rand(1, points, 256), "hires_query_feats": torch.rand(1, points, 128)}
    frame = {"input_frame": torch.rand(1, 3, SIDE, SIDE)}
    state = torch.rand(2, 3, points, 2, 2560)
    return {
        "model": _export(
            Model(),
            {**frame, **described, "causal_state": state},
            ["tracks", "visibles", "new_causal_state", *grids],
            {"query_feats": 1, "hires_query_feats": 1, "causal_state": 2, "tracks": 1, "visibles": 1},
            folder / "tapir.onnx",
        ),
        "encoder": _export(
            Encoder(),
            given,
            list(described),
            {"query_points": 1, "query_feats": 1, "hires_query_feats": 1},
            folder / "tapir_pointencoder.onnx",
        ),
    }


def _export(module: nn.Module, given: dict[str, Tensor], made: list[str], points: dict[str, int], path: Path) -> Path:
    """Write a module as a file; `points`: by name, the axis whose length is the number of points."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is a newer exporter, and that shapes become constants
        torch.onnx.export(
            module.eval(),
            tuple(given.values()),
            file,
            input_names=list(given),
            output_names=made,
            dynamic_axes={name: {axis: "N"} for name, axis in points.items()},
            opset_version=OPSET,
            dynamo=False,
        )
    onnx.save(onnx.load_from_string(file.getvalue()), path)
    return path
