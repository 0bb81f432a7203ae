"""`dift` on a backbone small enough to see through: each up-block passes on the latents' colours, enlarged."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn

from vswap_embedders.dift import Dift
from vswap_embedders.register import DiftOptions
from vswap_embedders.sampling import sample_features
from vswap_kernel.api import Context
from vswap_kernel.types import PointEmbeddings, PointTracks, Video

SIZE = (64, 48)


class Block(nn.Module):
    """Counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Any) -> Any:
        self.calls += 1
        return nn.functional.interpolate(x, scale_factor=2)


class Vae(nn.Module):
    """Latents: the mean colours of squares of 8 pixels, and their mean."""

    config = SimpleNamespace(block_out_channels=(1, 1, 1, 1))

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def encode(self, pixels: Any) -> Any:
        mean = nn.functional.avg_pool2d(pixels, 8)
        mean = torch.cat([mean, mean.mean(1, keepdim=True)], 1)
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=mean, std=torch.full_like(mean, 0.01)))


class TinyBackbone:
    """As much of a backbone as features need."""

    family, latent_scale = "tiny", 0.5

    def __init__(self) -> None:
        self.unet, self.vae = SimpleNamespace(up_blocks=nn.ModuleList(Block() for _ in range(3))), Vae()
        self.alphas_cumprod = torch.linspace(1, 0, 1000)
        self.prompts: list[str] = []
        self.batches: list[int] = []

    def embed_text(self, prompt: Any) -> Any:
        self.prompts.append(prompt.text)
        return torch.zeros(1, 77, 4)

    def predict(self, latents: Any, timestep: int, text: Any, /, *, frames: int) -> Any:
        assert len(latents) == frames
        self.batches.append(frames)
        for block in self.unet.up_blocks:
            latents = block(latents)
        return latents


def clip() -> tuple[Video, PointTracks]:
    """A red square moves 8 px a frame over blue; the second point is on it too, until it stays behind in frame 2."""
    frames = np.zeros((4, SIZE[1], SIZE[0], 3), np.uint8)
    frames[..., 2] = 255
    xy = np.zeros((4, 2, 2), np.float32)
    for t in range(4):
        frames[t, 8:40, 8 * t : 8 * t + 32] = (255, 0, 0)
        xy[t] = [[16 + 8 * t, 24], [12 + 8 * t, 20]]
    xy[2:, 1] = (4, 44)
    seen = np.ones((4, 2), bool)
    return Video(frames, 8.0), PointTracks(("a", "b"), xy, seen, seen.astype(np.float32), SIZE, np.ones(2, np.int32))


def embed(
    backbone: Any, tmp_path: Path, seed: int = 0, subject: str = "square", tracks: Any = None, **options: Any
) -> PointEmbeddings:
    video, known = clip()
    context = Context(tmp_path, seed=seed, components={"backbone": backbone})
    return Dift(DiftOptions(**{"t": 50, "level": 0} | options), context).embed(video, tracks or known, subject)


def test_a_point_is_kept_where_it_looks_as_on_its_keyframe(tmp_path: Path) -> None:
    got = embed(TinyBackbone(), tmp_path)
    assert got.keep.tolist() == [[True, True], [True, True], [True, False], [True, False]]
    assert got.support.tolist() == [4, 2]
    assert got.space == "dift:tiny:t50:up0"
    np.testing.assert_allclose(got.vectors[0], got.vectors[1], atol=0.2)
    assert embed(TinyBackbone(), tmp_path, threshold=None).support.tolist() == [4, 4]


def test_hidden_points_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    _, tracks = clip()
    seen = tracks.visible.copy()
    seen[3, 0] = False
    hidden = PointTracks(tracks.names, tracks.xy, seen, tracks.confidence, SIZE, tracks.keyframe)
    assert not embed(TinyBackbone(), tmp_path, tracks=hidden).keep[3, 0]
    assert embed(TinyBackbone(), tmp_path, tracks=hidden, only_visible=False).keep[3, 0]
    assert embed(TinyBackbone(), tmp_path, tracks=hidden, preset="reference").keep[3, 0]


def test_points_out_of_the_frame_are_left_out(tmp_path: Path) -> None:
    _, tracks = clip()
    xy = tracks.xy.copy()
    xy[0, 0] = (-20, 24)  # the reference reads the pixel 20 from the right edge, which is blue
    out = PointTracks(tracks.names, xy, tracks.visible, tracks.confidence, SIZE, tracks.keyframe)
    assert not embed(TinyBackbone(), tmp_path, tracks=out, threshold=None).keep[0, 0]
    assert embed(TinyBackbone(), tmp_path, tracks=out, threshold=None, whole_pixels=True).keep[0, 0]
    assert not embed(TinyBackbone(), tmp_path, tracks=out, whole_pixels=True).keep[0, 0]


def test_the_batch_changes_nothing_but_the_passes(tmp_path: Path) -> None:
    whole, small = TinyBackbone(), TinyBackbone()
    one = embed(whole, tmp_path, batch=32)
    other = embed(small, tmp_path, batch=3)
    assert (whole.batches, small.batches) == ([32], [3, 3, 2] * 4)
    np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-6)
    np.testing.assert_array_equal(one.keep, other.keep)


def test_the_seed_draws_the_noise_and_a_larger_ensemble_has_less_of_it(tmp_path: Path) -> None:
    first, again = (embed(TinyBackbone(), tmp_path, seed=1) for _ in range(2))
    assert first.digest() == again.digest()
    assert embed(TinyBackbone(), tmp_path, seed=2).digest() != first.digest()

    def spread(ensemble: int) -> float:
        made = [embed(TinyBackbone(), tmp_path, seed, ensemble=ensemble).vectors for seed in range(6)]
        return float(np.std(made, axis=0).mean())

    assert spread(32) < spread(2) / 2


def test_the_prompt_names_the_subject(tmp_path: Path) -> None:
    backbone = TinyBackbone()
    embed(backbone, tmp_path, subject="jeep")
    embed(backbone, tmp_path, prompt="a sketch")
    assert backbone.prompts == ["photo of a jeep", "a sketch"]


def test_no_block_after_the_asked_one_is_computed_and_no_hook_stays(tmp_path: Path) -> None:
    backbone = TinyBackbone()
    embed(backbone, tmp_path, level=1, batch=32)
    assert [block.calls for block in backbone.unet.up_blocks] == [1, 1, 0]
    assert not any(block._forward_hooks for block in backbone.unet.up_blocks)


def test_without_a_keyframe_the_first_most_certain_frame_serves(tmp_path: Path) -> None:
    _, tracks = clip()
    confidence = tracks.confidence * 0.5
    confidence[3, 1] = 1.0
    unknown = PointTracks(tracks.names, tracks.xy, tracks.visible, confidence, SIZE)
    assert embed(TinyBackbone(), tmp_path, tracks=unknown).keep[:, 1].tolist() == [False, False, True, True]


def test_feature_maps_are_what_points_are_read_from_whatever_the_calls(tmp_path: Path) -> None:
    video, tracks = clip()
    backbone = TinyBackbone()
    options = {"t": 50, "level": 0, "threshold": None, "ensemble": 3, "batch": 7}
    component = Dift(DiftOptions.model_validate(options), Context(tmp_path, components={"backbone": backbone}))
    maps = component.feature_maps(video.frames, "square")
    assert maps.shape == (4, 4, SIZE[1] // 4, SIZE[0] // 4)
    assert maps.dtype == torch.float32
    assert backbone.prompts == ["photo of a square"]
    parts = [component.feature_maps(video.frames[part], "square") for part in (slice(0, 1), slice(1, 4))]
    torch.testing.assert_close(maps, torch.cat(parts), atol=1e-6, rtol=0)
    assert torch.equal(component.feature_maps(video.frames[[1, 1]])[0], component.feature_maps(video.frames[[1]])[0])
    read = sample_features(maps, torch.from_numpy(tracks.xy), SIZE).mean(0)
    np.testing.assert_allclose(component.embed(video, tracks, "square").vectors, read.numpy(), atol=1e-5)


def test_feature_maps_of_a_stable_diffusion_shaped_model(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    from tiny_diffusion import write_model
    from vswap_backbones.register import StableDiffusionOptions
    from vswap_backbones.sd15 import StableDiffusion

    settings = StableDiffusionOptions.model_validate({"weights": write_model(tmp_path / "model")})
    backbone = StableDiffusion(settings, Context(tmp_path))
    options = DiftOptions(ensemble=2, batch=4)
    component = Dift(options, Context(tmp_path, components={"backbone": backbone}))
    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 96, 3), np.uint8)
    maps = component.feature_maps(frames, "jeep")
    assert maps.shape[2:] == (4, 6)  # up-block 1 ends at a sixteenth of the frame
    assert not maps.requires_grad
    torch.testing.assert_close(maps[1:2], component.feature_maps(frames[1:2], "jeep"), atol=1e-4, rtol=1e-4)
