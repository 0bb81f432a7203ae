"""The two files of Causal BootsTAPIR with the inputs, outputs and ranks recorded of the real ones, and nothing learned.

The feature grid holds where the frame's brightest spot is; a point's description is how far it is from there on its
keyframe; each track follows the spot. The state counts the frames since a point's keyframe, which is visible for
`PATIENCE` of them: so the state must be empty when a point joins, and carried on.
"""

from __future__ import annotations

from pathlib import Path

from tiny_onnx import save

SIDE, PATIENCE = 64, 6

MODEL = """
tapir (float[1,3,64,64] input_frame, float[1,N,256] query_feats, float[1,N,128] hires_query_feats,
       float[2,3,N,2,2560] causal_state)
   => (float[1,N,2] tracks, bool[1,N] visibles, float[2,3,N,2,2560] new_causal_state,
       float[1,8,8,256] feature_grid, float[1,16,16,128] hires_feats_grid)
<int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[2] line = {1, -1}, int64 side = {64},
 float half = {0.5}, float unit = {1}, float patience = {5.5}, float[1] nothing = {0}, int64[2] rest = {1, 254},
 int64[4] cell = {1, 1, 1, 256}, int64[4] grid = {1, 8, 8, 256}, int64[4] hires_grid = {1, 16, 16, 128},
 int64[4] from = {0, 0, 0, 0}, int64[4] to = {1, 1, 1, 1}, int64[4] axes = {0, 1, 3, 4}>
{
  grey = ReduceMean <axes = [1], keepdims = 0> (input_frame)
  flat = Reshape (grey, line)
  index = ArgMax <axis = 1, keepdims = 1> (flat)
  row = Div (index, side)
  column = Mod (index, side)
  whole = Concat <axis = 1> (column, row)
  floats = Cast <to = 1> (whole)
  spot = Add (floats, half)
  offset = Slice (query_feats, zero, two, two)
  spot_row = Unsqueeze (spot, one)
  tracks = Add (offset, spot_row)
  counted = Slice (causal_state, from, to, axes)
  count = Reshape (counted, line)
  visibles = Less (count, patience)
  new_causal_state = Add (causal_state, unit)
  zeros = Expand (nothing, rest)
  described = Concat <axis = 1> (spot, zeros)
  one_cell = Reshape (described, cell)
  feature_grid = Expand (one_cell, grid)
  hires_feats_grid = Expand (nothing, hires_grid)
}
"""

ENCODER = """
encoder (float[1,N,2] query_points, float[1,8,8,256] feature_grid, float[1,16,16,128] hires_feats_grid)
     => (float[1,N,256] query_feats, float[1,N,128] hires_query_feats)
<int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[3] from = {0, 0, 0}, int64[3] to = {1, 1, 2},
 int64[3] axes = {1, 2, 3}, int64[3] as_point = {1, 1, 2}, float[1] nothing = {0}, int64[1] rest = {254},
 int64[1] wide = {128}>
{
  down = Slice (query_points, zero, one, two)
  across = Slice (query_points, one, two, two)
  xy = Concat <axis = 2> (across, down)
  cell = Slice (feature_grid, from, to, axes)
  spot = Reshape (cell, as_point)
  offset = Sub (xy, spot)
  shape = Shape (query_points)
  points = Slice (shape, zero, two)
  rest_shape = Concat <axis = 0> (points, rest)
  zeros = Expand (nothing, rest_shape)
  query_feats = Concat <axis = 2> (offset, zeros)
  hires_shape = Concat <axis = 0> (points, wide)
  hires_query_feats = Expand (nothing, hires_shape)
}
"""


def tapir_files(folder: Path, points: str = "N", changes: dict[str, str] | None = None) -> dict[str, Path]:
    """Both files, by option; `points`: how many they take, a number or a name; `changes` replaces pieces of them."""
    paths = {}
    for name, file, graph in (("model", "tapir.onnx", MODEL), ("encoder", "tapir_pointencoder.onnx", ENCODER)):
        text = graph.replace(",N,", f",{points},").replace(",N]", f",{points}]")
        for before, after in (changes or {}).items():
            text = text.replace(before, after)
        paths[name] = save(text, folder / file)
    return paths
