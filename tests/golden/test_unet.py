"""The U-Net with its motion module, against recorded forward passes."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

torch = pytest.importorskip("torch")

TOLERANCE = 2e-5


def frames_in_batch(clips: Any) -> Any:
    """[B, C, F, h, w] as [B * F, C, h, w]."""
    return clips.transpose(1, 2).flatten(0, 1)


@pytest.fixture(scope="module")
def residuals(recording: Any) -> list[Any]:
    """The adapter's recorded maps [F, C, h, w], one a level."""
    tensors, notes = recording("adapter_io")
    maps = []
    for level in range(sum(name.startswith("state_all_") for name in notes["dense_shapes"])):
        frames, channels, height, width = notes["dense_shapes"][f"state_all_{level}"]
        dense = torch.zeros(frames, height, width, channels)
        dense[tuple(tensors[f"state_all_{level}_idx"].long().T)] = tensors[f"state_all_{level}_val"]
        maps.append(dense.permute(0, 3, 1, 2).contiguous())
    return maps


@pytest.fixture(scope="module")
def texts(recording: Any) -> dict[str, Any]:
    tensors: dict[str, Any] = recording("prompt_io")[0]
    return tensors


def error(recording: Any, name: str, predicted: Any) -> float:
    return float((predicted - frames_in_batch(recording("unet3d_io")[0][name])).abs().max())


@pytest.mark.parametrize(
    ("output", "moment", "with_residuals"),
    [("out_plain", "t_plain", False), ("out_residual", "t_plain", True), ("out_negative_t", "t_negative", False)],
)
def test_one_clip(
    output: str,
    moment: str,
    with_residuals: bool,
    recording: Any,
    backbone: Any,
    motion: Any,
    residuals: Any,
    texts: Any,
) -> None:
    tensors, notes = recording("unet3d_io")
    latents, maps = tensors["latents"], residuals if with_residuals else None
    with torch.no_grad(), motion.attach(backbone):
        predicted = backbone.predict(
            frames_in_batch(latents), notes[moment], texts["source_embeds"], frames=latents.shape[2], residuals=maps
        )
    assert error(recording, output, predicted) < TOLERANCE


def test_guidance_batch(recording: Any, backbone: Any, motion: Any, residuals: Any, texts: Any) -> None:
    tensors, notes = recording("unet3d_io")
    latents = tensors["latents_cfg"]
    with torch.no_grad(), motion.attach(backbone):
        predicted = backbone.predict(
            frames_in_batch(latents),
            notes["t_cfg"],
            texts["target_cfg_embeds"],
            frames=latents.shape[2],
            residuals=residuals,
        )
    assert error(recording, "out_cfg_residual", predicted) < TOLERANCE


def test_guidance_batch_with_a_concept_and_a_text_per_layer(
    recording: Any, backbone: Any, motion: Any, concept: Any, residuals: Any, texts: Any
) -> None:
    tensors, notes = recording("unet3d_io")
    latents = tensors["latents_cfg"]
    with ExitStack() as attached:
        attached.enter_context(torch.no_grad())
        attached.enter_context(motion.attach(backbone))
        attached.enter_context(concept.attach(backbone))
        predicted = backbone.predict(
            frames_in_batch(latents),
            notes["t_cfg"],
            texts["edlora_embeds"].transpose(0, 1),
            frames=latents.shape[2],
            residuals=residuals,
        )
    assert error(recording, "out_cfg_edlora_residual", predicted) < TOLERANCE


def test_without_motion(recording: Any, backbone: Any, make: Any, golden: Any, texts: Any) -> None:
    tensors, notes = recording("unet3d_io")
    latents = tensors["latents"]
    off = make("motion", "animatediff", weights=golden / "mm_tiny.ckpt", strength=0, norm_over_frames="yes")
    with torch.no_grad(), off.attach(backbone):
        predicted = backbone.predict(
            frames_in_batch(latents), notes["t_plain"], texts["source_embeds"], frames=latents.shape[2]
        )
    assert error(recording, "out_plain_motion_off", predicted) < TOLERANCE


def test_everything_attached_is_taken_out_exactly(
    recording: Any, backbone: Any, motion: Any, concept: Any, texts: Any
) -> None:
    tensors, notes = recording("unet3d_io")
    latents = frames_in_batch(tensors["latents"])

    def predicted() -> Any:
        with torch.no_grad():
            return backbone.predict(latents, notes["t_plain"], texts["source_embeds"], frames=len(latents))

    before = predicted()
    tensors_before = {name: (value.data_ptr(), value.clone()) for name, value in backbone.unet.named_parameters()}
    words = len(backbone.tokenizer)
    with motion.attach(backbone), concept.attach(backbone):
        assert not torch.equal(before, predicted())
    assert torch.equal(before, predicted())
    assert len(backbone.tokenizer) == words
    for name, value in backbone.unet.named_parameters():
        place, content = tensors_before[name]
        assert value.data_ptr() == place, name
        assert torch.equal(value, content), name
