"""DDIM inversion, and every recorded edit that doesn't blend."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from vswap_kernel.types import Prompt
from vswap_reference.tap_file import read_tap
from vswap_swappers.point_diffusion.adapter import chosen
from vswap_swappers.point_diffusion.adapter_file import read_adapter
from vswap_swappers.point_diffusion.ddim import Ladder, inverted, sampled
from vswap_swappers.point_diffusion.guidance import Guidance, StepRange, text_pair
from vswap_swappers.point_diffusion.splat import splats

INVERSION, EDIT = 1e-4, 1e-3


def frames_first(latents: Any) -> Any:
    """[1, 4, F, h, w] or [4, F, h, w] as [F, 4, h, w]."""
    return latents.reshape(latents.shape[-4:]).transpose(0, 1).contiguous()


def notes_of(golden: Path) -> dict[str, Any]:
    return json.loads((golden / "edit_noblend.json").read_text())


def relative(latents: Any, recorded: Any) -> float:
    """Root mean square of the difference, relative to that of the recorded ones."""
    wanted = frames_first(recorded)
    return float((latents - wanted).square().mean().sqrt() / wanted.square().mean().sqrt())


@pytest.fixture(scope="module")
def inversion(recording: Any, golden_config: Any, backbone: Any, motion: Any) -> list[Any]:
    tensors, _ = recording("edit_noblend_inversion")
    ladder = Ladder.of(backbone.alphas_cumprod, golden_config["steps"])
    start = frames_first(tensors["initial_latents"])
    with motion.attach(backbone):
        text = backbone.embed_text(Prompt(golden_config["prompt"]))

        def predict(latents: Any, timestep: int, step: int) -> Any:
            return backbone.predict(latents, timestep, text, frames=len(latents))

        return [start, *inverted(predict, start, ladder, negative_first_timestep=True)]


def test_the_ladder_has_the_recorded_timesteps(golden: Path, golden_config: Any, backbone: Any) -> None:
    notes = notes_of(golden)
    ladder = Ladder.of(backbone.alphas_cumprod, golden_config["steps"])
    assert list(ladder.timesteps[:-1]) == notes["inverse_timesteps"]
    for edit in notes["edits"].values():
        assert list(ladder.timesteps[:0:-1]) == edit["timesteps"]


def test_the_inversion_follows_the_recorded_trajectory(recording: Any, inversion: list[Any]) -> None:
    recorded = recording("edit_noblend_inversion")[0]["latents_after_step"]
    assert len(inversion) == len(recorded) + 1
    for step, latents in enumerate(inversion[1:]):
        assert (latents - frames_first(recorded[step])).abs().max() < INVERSION, step


def residuals_of(golden: Path, edit: dict[str, Any], size: tuple[int, int]) -> Any:
    """The adapter's maps for an edit: its own tracks if it has some, and the points that it chose."""
    tap = read_tap(golden / (edit["swap"]["tap_path"] or "TAP.pth"))
    adapter, indices = read_adapter(golden / "adapter.pth"), edit["call"]["index_list"]
    embeddings = torch.from_numpy(tap.vectors)
    kept = None if indices is None else chosen(len(embeddings), indices)
    with torch.no_grad():
        places = splats(tap.xy, tap.visible, size)
        return adapter(embeddings, places, kept=kept, strength=edit["call"]["t2i_guidance_scale"])


def test_every_edit_without_blending_follows_the_recorded_latents(
    golden: Path, golden_config: Any, recording: Any, backbone: Any, motion: Any, concept: Any, inversion: list[Any]
) -> None:
    notes, ladder = notes_of(golden), Ladder.of(backbone.alphas_cumprod, golden_config["steps"])
    assert notes["edits"]
    for name, edit in notes["edits"].items():
        tensors, call = recording(f"edit_noblend_{name}")[0], edit["call"]
        on = StepRange(call["t2i_start"], call["t2i_end"], inclusive=True)
        assert [on(step, ladder.steps) for step in range(ladder.steps)] == edit["steps_with_residual"]
        with ExitStack() as attached:
            attached.enter_context(motion.attach(backbone))
            make_prompt = Prompt
            if edit["swap"]["lora_path"]:
                attached.enter_context(concept.attach(backbone))
                make_prompt = concept.prompt
            text = text_pair(*(backbone.embed_text(make_prompt(call[key])) for key in ("negative_prompt", "prompt")))
            maps = residuals_of(golden, edit, (golden_config["W"], golden_config["H"]))
            predict = Guidance(backbone, text, call["guidance_scale"], ladder.steps, maps, on)
            steps = list(sampled(predict, inversion[-1], ladder))
        assert relative(steps[0][1], tensors["guided_noise_pred_step0"]) < EDIT, name
        for step, recorded in zip(edit["latent_steps_kept"], tensors["latents_after_step"], strict=True):
            assert relative(steps[step][0], recorded) < EDIT, (name, step)
