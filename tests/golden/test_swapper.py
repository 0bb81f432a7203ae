"""The swapper as users call it, with `preset: reference`, gives the recorded results: all is wired as recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")

from safetensors.torch import load_file

from vswap_kernel.api import Context, SwapPrompt
from vswap_kernel.protocols import SwapJob
from vswap_kernel.types import PointEmbeddings, Video
from vswap_swappers.point_diffusion import preparation
from vswap_swappers.point_diffusion.options import PointDiffusionOptions
from vswap_swappers.point_diffusion.sampling import CHECKPOINT
from vswap_swappers.point_diffusion.swapper import PointDiffusion
from vswap_track_files.tap_file import read_tap

from .edits import EDIT, Edit, relative

EDITS = "every"
PATCHED = "the reference itself was altered for this group: its threshold of queries is another"
UNPATCHED_LEAST = 32 * 32


def options_of(edit: Edit) -> PointDiffusionOptions:
    """The recorded call in our options; what it doesn't tell is the preset's."""
    call, blend = edit.call, edit.swap.get("blend_cfg") or {}
    values: dict[str, Any] = {
        "preset": "reference",
        "steps": edit.group.ladder.steps,
        "adapter": edit.group.golden / "adapter.pth",
        "guidance": call["guidance_scale"],
        "negative_prompt": call["negative_prompt"],
        "adapter_strength": call["t2i_guidance_scale"],
        "adapter_start": call["t2i_start"],
        "adapter_end": call["t2i_end"],
        "latent_blend": edit.group.notes["editing_config"]["use_blend"],
        "cross_replace": blend.get("cross_replace_steps") or 0.0,
        "self_replace": blend.get("self_replace_steps") or 0.0,
    }
    if blend:
        start, end = edit.blend_range()
        values |= {"blend_threshold": blend["blend_th"], "blend_start": start, "blend_end": end}
    return PointDiffusionOptions(**values)


def job_of(edit: Edit, make: Callable[..., Any]) -> SwapJob:
    golden, config = edit.group.golden, edit.group.config
    names = sorted((golden / edit.group.notes["frames"]).iterdir())
    frames = np.stack([read_rgb(path) for path in names])
    video = Video(frames, 8.0)
    tap = read_tap(golden / edit.group.notes["tap"])
    own = read_tap(golden / (edit.swap["tap_path"] or edit.group.notes["tap"]))  # with embeddings of its own
    tracks, vectors = tap.tracks(video.size), own.vectors
    assert vectors is not None
    assert own.names == tap.names
    seen = np.ones(tracks.visible.shape, bool)  # which frames count is in the visibility already
    embeddings = PointEmbeddings(tap.names, vectors, seen.sum(0).astype(np.int32), seen, "")
    moved = own.tracks(video.size)
    chosen = edit.call["index_list"]
    targets = moved.subset(tap.names[i] for i in (range(len(tap.names)) if chosen is None else sorted(chosen)))
    prompt = SwapPrompt(config["prompt"], edit.call["prompt"], (edit.old, edit.new))
    concept = edit.concept or make("concept", "text")
    group = edit.group
    return SwapJob(video, tracks, targets, None, embeddings, prompt, concept, group.motion, group.backbone)


def read_rgb(path: Path) -> Any:
    """As the recordings were read: through PIL, not through our decoder, whose JPEG may round otherwise."""
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB"))


@pytest.fixture(scope="module")
def prepare(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Edit, SwapJob], Path]:
    """The prepared folder of an edit; all edits of a group have the same, as the adapter is given."""
    done: dict[str, Path] = {}

    def prepared(edit: Edit, job: SwapJob) -> Path:
        name = edit.group.name
        if name not in done:
            folder, context = tmp_path_factory.mktemp(name), Context(tmp_path_factory.mktemp("scratch"))
            noise, _ = edit.group.recording(f"edit_{name}_inversion")
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(preparation, "_posterior_noise", lambda work: noise["vae_noise"])
                PointDiffusion(options_of(edit), context).prepare(job, folder)
            done[name] = folder
        return done[name]

    return prepared


def test_the_swapper_gives_the_recorded_result(
    edit: Edit, make: Callable[..., Any], prepare: Callable[[Edit, SwapJob], Path], tmp_path: Path
) -> None:
    if edit.group.notes["attention_threshold_pixels"] != UNPATCHED_LEAST:
        pytest.skip(PATCHED)
    job = job_of(edit, make)
    result = PointDiffusion(options_of(edit), Context(tmp_path)).swap(job, prepare(edit, job))
    latents = load_file(tmp_path / CHECKPOINT)["latents"]
    steps = edit.notes["latent_steps_kept"]
    assert steps[-1] == edit.group.ladder.steps - 1
    assert relative(latents, edit.tensors["latents_after_step"][-1]) < EDIT
    pixels = torch.from_numpy(result.video.frames[0, ::4, ::4].copy()).permute(2, 0, 1)
    recorded = (edit.tensors["decoded_frame0_pixels_y0_x0_step4"] / 2 + 0.5).clamp(0, 1) * 255
    assert (pixels - recorded).abs().max() < 1.0
