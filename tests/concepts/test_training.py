"""Training of an ED-LoRA on a tiny random model: what is learned is what its users get."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vswap_kernel.api import Context
from vswap_kernel.errors import InputError, VswapError

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("peft")

from vswap_concepts.training.pictures import Picture
from vswap_concepts.training.settings import Subject, TrainingSettings

SUBJECT = Subject(("<toyA1>", "<toyA2>"), "car")
CAPTION, PRIOR_CAPTION = "a photo of a <toyA1> <toyA2>", "a photo of a car"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_diffusion import write_model

    return write_model(tmp_path_factory.mktemp("model"))


def load(folder: Path, dtype: str = "float32") -> Any:
    from vswap_backbones.register import StableDiffusionOptions
    from vswap_backbones.sd15 import StableDiffusion

    return StableDiffusion(StableDiffusionOptions.model_validate({"weights": folder}), Context(folder, dtype=dtype))


@pytest.fixture(scope="module")
def backbone(model: Path) -> Any:
    return load(model)


def pictures(count: int, caption: str, *, mask: bool = False, seed: int = 0) -> list[Picture]:
    random, made = np.random.default_rng(seed), []
    for _ in range(count):
        rgb = np.full((64, 64, 3), random.integers(0, 256), np.uint8)
        rgb[16:48, 24:56] = (220, 40, 30)
        where = np.zeros((64, 64), np.uint8)
        where[16:48, 24:56] = 255
        made.append(Picture(rgb, where if mask else None, (caption,)))
    return made


def examples(backbone: Any, count: int = 2, caption: str = CAPTION, **settings: Any) -> Any:
    from vswap_concepts.training.examples import encoded

    background, flip = settings.pop("background", 0.1), settings.pop("flip", False)
    return encoded(pictures(count, caption, **settings), backbone, background=background, flip=flip)


@contextmanager
def training(backbone: Any, *, prior: Any = None, subject: Any = None, **settings: Any) -> Iterator[Any]:
    from vswap_concepts.training.loop import ConceptTraining
    from vswap_concepts.training.tuned import tuned

    of = TrainingSettings(
        **{"steps": 4, "batch": 2, "words_rate": 0.02, "text_rate": 0.02, "unet_rate": 0.02} | settings
    )
    captions = (CAPTION, PRIOR_CAPTION)
    shown = subject or examples(backbone)
    with tuned(backbone, SUBJECT, captions, rank=of.rank, seed=of.seed, device=torch.device("cpu")) as live:
        yield ConceptTraining(live, shown, prior, of)


def test_the_loss_on_a_fixed_batch_goes_down(backbone: Any) -> None:
    with training(backbone, steps=16) as made:
        before = float(made.loss(1000).detach())
        losses = made.run()
        after = float(made.loss(1000).detach())
    assert len(losses) == 16
    assert after < 0.95 * before


def test_words_text_encoder_and_unet_all_learn(backbone: Any) -> None:
    with training(backbone) as made:
        before = {name: parameter.detach().clone() for name, parameter in made.parameters.items()}
        made.run()
        changed = {name for name, parameter in made.parameters.items() if not torch.equal(parameter, before[name])}
        same_for_all_layers = before["words.vectors"]
        assert made.parameters["words.vectors"].shape == (2, 16, 16)
        assert made.parameters["words.vectors"].std(1).min() > 0
    assert changed == before.keys()
    assert torch.equal(same_for_all_layers, same_for_all_layers[:, :1].expand(-1, 16, -1))


def test_the_last_word_begins_as_the_class_word(backbone: Any) -> None:
    table = backbone.text_encoder.get_input_embeddings().weight
    ids = backbone.tokenizer("car", add_special_tokens=False).input_ids
    with training(backbone) as made:
        first, last = made.model.vectors.detach()[:, 0]
    assert torch.allclose(last, table[ids].mean(0))
    assert 0.3 * table.std() < first.std() < 3 * table.std()


def test_the_loaded_concept_predicts_as_the_model_did_at_the_end(backbone: Any, model: Path, tmp_path: Path) -> None:
    from vswap_concepts.ed_lora import EdLoraConcept
    from vswap_concepts.ed_lora_file import write_ed_lora
    from vswap_concepts.register import EdLoraOptions

    latents = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    paths = (tmp_path / "toy.safetensors", tmp_path / "toy.pth")
    with training(backbone) as made:
        made.run()
        with torch.no_grad():
            text = made.model.embed([CAPTION])
            through_unet = made.model.predict(latents, torch.full((3,), 400), text.expand(-1, 3, -1, -1))
            through_backbone = backbone.predict(latents, 400, text, frames=3)
        for path in paths:
            write_ed_lora(made.model.learned(path), path)
    fresh = load(model)
    for path in paths:
        concept = EdLoraConcept(EdLoraOptions(weights=path), Context(tmp_path))
        plain = fresh.embed_text(concept.prompt(PRIOR_CAPTION))
        untrained = fresh.predict(latents, 400, plain, frames=3)
        with concept.attach(fresh), torch.no_grad():
            loaded_text = fresh.embed_text(concept.prompt(CAPTION)).unsqueeze(1)
            loaded = fresh.predict(latents, 400, loaded_text, frames=3)
        assert torch.allclose(loaded_text, text, atol=1e-4)
        assert torch.allclose(loaded, through_unet, atol=1e-4)
        assert torch.allclose(loaded, through_backbone, atol=1e-4)
        assert (loaded - untrained).abs().max() > 1e-2


def test_the_backbone_is_left_as_it_was(backbone: Any) -> None:
    def state() -> dict[str, Any]:
        found: dict[str, Any] = {"tokenizer": id(backbone.tokenizer), "words": len(backbone.tokenizer)}
        for kind, part in (("unet", backbone.unet), ("text", backbone.text_encoder)):
            found |= {
                f"{kind} {name}": (
                    id(module),
                    type(module),
                    module.training,
                    len(module._forward_hooks),
                    len(module._forward_pre_hooks),
                )
                for name, module in part.named_modules()
            }
            found |= {
                f"{kind} {name}": (id(p), p.requires_grad, p.detach().sum().item())
                for name, p in part.named_parameters()
            }
            found[f"{kind} fields"] = sorted(vars(part))
        return found

    before = state()
    with training(backbone, steps=2) as made:
        made.run()
        assert state() != before
    assert state() == before
    with pytest.raises(RuntimeError, match="on purpose"), training(backbone):
        raise RuntimeError("on purpose")
    assert state() == before


def test_a_resumed_training_ends_with_the_same_bytes(backbone: Any, tmp_path: Path) -> None:
    from vswap_concepts.ed_lora_file import write_ed_lora

    def stop(done: int, total: int, note: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    def finish(name: str, checkpoint: Path | None) -> bytes:
        with training(backbone, checkpoint_every=2, prior=examples(backbone, 2, PRIOR_CAPTION, seed=1)) as made:
            losses.append(made.run(checkpoint))
            write_ed_lora(made.model.learned(tmp_path / name), tmp_path / name)
        return (tmp_path / name).read_bytes()

    losses: list[Any] = []
    checkpoint = tmp_path / "toy.training.safetensors"
    whole = finish("whole.safetensors", None)
    prior = examples(backbone, 2, PRIOR_CAPTION, seed=1)
    with training(backbone, checkpoint_every=2, prior=prior) as made, pytest.raises(KeyboardInterrupt):
        made.run(checkpoint, stop)
    assert [path.name for path in tmp_path.iterdir() if "training" in path.name] == [checkpoint.name]
    assert finish("resumed.safetensors", checkpoint) == whole
    assert losses[0] == losses[1]


def test_a_checkpoint_of_another_training_is_refused(backbone: Any, tmp_path: Path) -> None:
    checkpoint = tmp_path / "toy.training.safetensors"
    with training(backbone, steps=1) as made:
        made.run(checkpoint)
    with training(backbone, steps=2) as made, pytest.raises(InputError, match="a checkpoint of another training"):
        made.run(checkpoint)
    other = examples(backbone, seed=9)
    with training(backbone, steps=1, subject=other) as made, pytest.raises(InputError, match="of another training"):
        made.run(checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-8])
    with training(backbone, steps=1) as made, pytest.raises(VswapError, match="damaged checkpoint"):
        made.run(checkpoint)


def test_every_nth_picture_is_one_of_the_class_and_all_have_their_turn(backbone: Any) -> None:
    subject, prior = examples(backbone, 3), examples(backbone, 2, PRIOR_CAPTION, seed=1)
    with training(backbone, batch=6, prior_every=4, prior=prior, subject=subject) as made:
        batches = [made.batch(step) for step in range(4)]
    marks = [mark for batch in batches for mark in batch.prior]
    assert marks == [(number + 1) % 4 == 0 for number in range(24)]
    captions = [caption for batch in batches for caption in batch.captions]
    assert captions == [PRIOR_CAPTION if mark else CAPTION for mark in marks]
    shown = torch.cat([batch.latents for batch in batches])
    for mark, pool, turns in ((True, prior, 3), (False, subject, 6)):
        mine = shown[torch.tensor(marks) == mark]
        counts = [sum(torch.equal(latents, one) for one in mine) for latents in pool.latents]
        assert counts == [turns] * len(pool)


def test_masks_weigh_the_loss_on_the_subject(backbone: Any) -> None:
    masked, plain = examples(backbone, 1, mask=True, background=0.25), examples(backbone, 1)
    assert torch.equal(plain.weights, torch.ones(1, 1, 8, 8))
    inside, outside = masked.weights[0, 0, 2:6, 3:7], masked.weights[0, 0, 0]
    assert torch.allclose(inside / outside[0], torch.tensor(4.0))
    assert masked.weights.mean() == pytest.approx(1)
    with training(backbone, subject=masked, batch=1) as made:
        made.model.__dict__["predict"] = lambda latents, timesteps, text: torch.zeros_like(latents)
        noise = made.draws.noise(0, (1, 4, 8, 8))
        assert float(made.loss(0)) == pytest.approx(float((noise**2 * masked.weights).mean()))


def test_mirrored_pictures_have_mirrored_weights_and_are_off_by_default(backbone: Any) -> None:
    flipped, plain = examples(backbone, 1, mask=True, flip=True), examples(backbone, 1, mask=True)
    assert plain.mirrored is None
    assert torch.equal(plain.one(0, True)[0], plain.latents[0])
    latents, weights = flipped.one(0, True)
    assert torch.equal(weights, flipped.weights[0].flip(-1))
    assert not torch.allclose(latents, flipped.latents[0])


def test_a_loss_that_is_not_finite_ends_it(backbone: Any) -> None:
    with training(backbone) as made:
        made.model.vectors.data.fill_(float("nan"))
        with pytest.raises(VswapError, match="not finite at step 1"):
            made.run()


def test_words_and_changes_stay_in_float32_under_a_bfloat16_model(model: Path) -> None:
    backbone = load(model, "bfloat16")
    with training(backbone, steps=2) as made:
        assert all(np.isfinite(made.run()))
        assert {parameter.dtype for parameter in made.parameters.values()} == {torch.float32}
        assert made.parameters["unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.up"].abs().max() > 0


def test_gradient_checkpointing_changes_no_gradient(backbone: Any) -> None:
    from vswap_concepts.training.tuned import tuned

    subject, found = examples(backbone), []
    from vswap_concepts.training.loop import ConceptTraining

    for checkpointing in (False, True):
        with tuned(
            backbone,
            SUBJECT,
            [CAPTION],
            rank=2,
            seed=0,
            device=torch.device("cpu"),
            gradient_checkpointing=checkpointing,
        ) as live:
            made = ConceptTraining(live, subject, None, TrainingSettings(batch=2))
            torch.autograd.backward(made.loss(0))
            found.append(live.vectors.grad.clone())
    assert torch.allclose(found[0], found[1], atol=1e-7)
    assert not backbone.unet.is_gradient_checkpointing
