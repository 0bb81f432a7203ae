"""`dift` against the recorded features, queries and embeddings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
from torch.nn.functional import cosine_similarity

from vswap_embedders.dift import Dift
from vswap_embedders.features import DiffusionFeatures, FeatureNoise
from vswap_embedders.register import DiftOptions
from vswap_embedders.sampling import sample_features, wrapped_pixels
from vswap_kernel.api import Context
from vswap_kernel.types import PointTracks, Prompt, Video

FORWARD = 2e-5


@pytest.fixture(scope="module")
def dift_io(recording) -> tuple[dict[str, Any], dict[str, Any]]:
    return recording("dift_io")


@pytest.fixture(scope="module")
def models(golden: Path) -> Any:
    """The recorded model."""
    from vswap_backbones.register import StableDiffusionOptions
    from vswap_backbones.sd15 import StableDiffusion

    return StableDiffusion(StableDiffusionOptions(weights=golden / "tiny-sd"), Context(golden))


def features(models: Any, dift_io: Any, members: int, level: int, timestep: int, batch: int = 8) -> DiffusionFeatures:
    tensors, notes = dift_io
    noise = FeatureNoise(tensors["vae_noise"][:members], tensors["diffusion_noise"][:members])
    text = models.embed_text(Prompt(notes["prompt"]))
    return DiffusionFeatures(models, text, noise, level, timestep, batch)


def mean_maps(made: DiffusionFeatures, frames: Any) -> Any:
    """Mean over the ensemble of each frame's maps [F, C, h, w]."""
    totals: dict[int, Any] = {}
    members = len(made.noise.posterior)
    with torch.no_grad():
        for indices, maps in made.passes(frames):
            for index, one in zip(indices.tolist(), maps, strict=True):
                totals[index] = totals.get(index, 0) + one / members
    return torch.stack([totals[index] for index in sorted(totals)])


def test_feature_maps_of_one_noise(models: Any, dift_io: Any) -> None:
    tensors, notes = dift_io
    names = {name: int(name.rpartition("frame")[2]) for name in tensors if name.startswith("feat_ens1_frame")}
    frames = tensors["frames_u8"][list(names.values())].numpy()
    made = features(models, dift_io, 1, notes["up_ft_index"], notes["t"])
    got = mean_maps(made, frames)
    torch.testing.assert_close(got, torch.cat([tensors[name] for name in names]), atol=FORWARD, rtol=0)


def test_another_level_and_timestep(models: Any, dift_io: Any) -> None:
    tensors, _ = dift_io
    (name,) = (name for name in tensors if name.startswith("feat_ens1_up"))
    level, frame = (int(number) for number in re.findall(r"\d+", name)[1:])
    got = mean_maps(features(models, dift_io, 1, level, 100), tensors["frames_u8"][[frame]].numpy())
    torch.testing.assert_close(got, tensors[name], atol=FORWARD, rtol=0)


@pytest.mark.parametrize("batch", [3, 8])
def test_an_ensemble_is_the_mean_whatever_the_batch(models: Any, dift_io: Any, batch: int) -> None:
    tensors, notes = dift_io
    members = len(tensors["vae_noise"])
    (name,) = (name for name in tensors if name.startswith(f"feat_ens{members}_frame"))
    frame = int(name.rpartition("frame")[2])
    made = features(models, dift_io, members, notes["up_ft_index"], notes["t"], batch)
    got = mean_maps(made, tensors["frames_u8"][[frame]].numpy())
    torch.testing.assert_close(got, tensors[name], atol=FORWARD, rtol=0)


def test_queries_read_what_the_reference_reads_from_the_enlarged_map(dift_io: Any) -> None:
    tensors, notes = dift_io
    height, width = tensors["frames_u8"].shape[1:3]

    def read(frame: int, xy: list[float]) -> Any:
        pixels, inside = wrapped_pixels(torch.tensor([[xy]]), (width, height))
        assert inside.all()
        return sample_features(tensors[f"feat_ens1_frame{frame}"], pixels, (width, height))[0, 0]

    for number, query in enumerate(notes["queries"]):
        target = read(query["target_frame"], query["target_xy"])
        torch.testing.assert_close(target, tensors[f"query{number}_vec"], atol=FORWARD, rtol=0)
        cosine = cosine_similarity(read(query["source_frame"], query["source_xy"]), target, dim=0)
        assert float(cosine) == pytest.approx(query["cosine"], abs=FORWARD)


class RememberedFeatures(DiffusionFeatures):
    """Computes the maps of a frame once, for all tests."""

    made: ClassVar[dict[bytes, Any]] = {}

    def passes(self, frames: Any) -> Any:
        key = frames.tobytes()
        if key not in self.made:
            self.made[key] = list(super().passes(frames))
        return iter(self.made[key])


def embed(models: Any, dift_io: Any, tracks: str, tmp_path: Path, **options: Any) -> Any:
    """`Dift` on recorded tracks, with the recorded noise."""
    tensors, notes = dift_io
    video = Video(tensors["frames_u8"].numpy(), 8.0)
    xy = tensors[tracks].numpy()
    seen = (xy >= 0).all(-1)
    keyframe = np.full(xy.shape[1], notes["keyframe"], np.int32)
    point_tracks = PointTracks(tuple(notes["points"]), xy, seen, seen.astype(np.float32), video.size, keyframe)
    component = Dift(DiftOptions(preset="reference", **options), Context(tmp_path))
    made = features(models, dift_io, len(tensors["vae_noise"]), notes["up_ft_index"], notes["t"])
    made = RememberedFeatures(**vars(made))
    with torch.no_grad():
        return component.embed_with(made, video, point_tracks)


def test_embeddings_and_kept_flags_of_tracked_points(models: Any, dift_io: Any, tmp_path: Path) -> None:
    tensors, notes = dift_io
    got = embed(models, dift_io, "extract_tracks_in", tmp_path, threshold=notes["threshold"])
    before, after = tensors["extract_tracks_in"].numpy(), tensors["extract_tracks_out"].numpy()
    np.testing.assert_array_equal(np.where(got.keep[..., None], before, np.float32(-1)), after)
    # not what is left visible: a negative place that wraps around to alike pixels is kept, and counts
    np.testing.assert_array_equal(got.support, got.keep.sum(0))
    np.testing.assert_allclose(got.vectors, tensors["extract_embedding"].numpy(), atol=FORWARD, rtol=0)


def test_embeddings_of_body_joints_are_means_over_the_visible_frames(models: Any, dift_io: Any, tmp_path: Path) -> None:
    tensors, notes = dift_io
    if notes["human"] != "ok":
        pytest.skip(f"the reference recorded none: {notes['human']}")
    got = embed(models, dift_io, "extract_human_tracks_in", tmp_path, threshold=None, only_visible=True)
    np.testing.assert_array_equal(got.keep, (tensors["extract_human_tracks_in"].numpy() >= 0).all(-1))
    np.testing.assert_allclose(got.vectors, tensors["extract_human_embedding"].numpy(), atol=FORWARD, rtol=0)
