"""Small real trackers as ONNX files, built node by node: nothing in them is learned.

The picture's brightest spot is found in each frame, and every point moves as it does. It is visible where the spot is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import parser

from vswap_kernel.types import Video

OPSET, IR = 17, 8


def save(graph: str, path: Path) -> Path:
    """Write a graph in ONNX's text format."""
    header = f'<ir_version: {IR}, opset_import: ["" : {OPSET}]>'
    model = parser.parse_model(header + graph)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


SPOT_TRACKER = """
tracker (float[1,T,3,H,W] video, float[1,N,3] queries) => (float[1,T,N,2] tracks, float[1,T,N] visibility)
<int64[1] one = {1}, int64[1] zero = {0}, int64[1] two = {2}, int64[1] three = {3}, int64[1] four = {4},
 int64[1] five = {5}, int64[1] flat_end = {-1}, float level = {200}, float slope = {0.5}>
{
  grey = ReduceMean <axes = [2], keepdims = 0> (video)
  shape = Shape (video)
  frames = Slice (shape, one, two)
  width = Slice (shape, four, five)
  flat_shape = Concat <axis = 0> (frames, flat_end)
  flat = Reshape (grey, flat_shape)
  peak = ReduceMax <axes = [1], keepdims = 1> (flat)
  index = ArgMax <axis = 1, keepdims = 1> (flat)
  row = Div (index, width)
  column = Mod (index, width)
  place = Concat <axis = 1> (column, row)
  spot = Cast <to = 1> (place)
  first = Slice (queries, zero, one, two)
  query_frame = Cast <to = 7> (first)
  query_number = Squeeze (query_frame)
  number = Reshape (query_number, flat_end)
  at_query = Gather <axis = 0> (spot, number)
  query_xy = Slice (queries, one, three, two)
  query_flat = Squeeze (query_xy, zero)
  offset = Sub (query_flat, at_query)
  spot_column = Unsqueeze (spot, one)
  offset_row = Unsqueeze (offset, zero)
  both = Add (spot_column, offset_row)
  tracks = Unsqueeze (both, zero)
  above = Sub (peak, level)
  logit = Mul (above, slope)
  seen = Sigmoid (logit)
  counted = Shape (number)
  wide = Concat <axis = 0> (one, counted)
  many = Expand (seen, wide)
  visibility = Unsqueeze (many, zero)
}
"""


def spot_tracker(path: Path, changes: dict[str, str] | None = None) -> Path:
    """The default contract of `onnx`; `changes` replaces pieces of the graph's text."""
    graph = SPOT_TRACKER
    for before, after in (changes or {}).items():
        assert before in graph, before
        graph = graph.replace(before, after)
    return save(graph, path)


def spot_video(places: Any, size: tuple[int, int] = (64, 48), hidden: Any = ()) -> Video:
    """A bright spot at whole-pixel `places` [T, 2] on dark noise; in the frames `hidden` it is covered."""
    width, height = size
    noise = np.random.default_rng(0).integers(0, 60, (height, width, 3), np.uint8)
    frames: NDArray[np.uint8] = np.tile(noise, (len(places), 1, 1, 1))
    for t, (x, y) in enumerate(np.asarray(places, int)):
        if t not in hidden and 0 <= x < width and 0 <= y < height:
            frames[t, y, x] = 255
    return Video(frames, 25.0)
