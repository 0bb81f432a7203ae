"""`ed-lora` and `text` on a tiny random model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from vswap_kernel.api import Context, Facts, NoOptions
from vswap_kernel.errors import InputError
from vswap_kernel.types import Prompt

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tiny_diffusion import write_model
    from vswap_backbones.register import StableDiffusionOptions
    from vswap_backbones.sd15 import StableDiffusion

    folder = write_model(tmp_path_factory.mktemp("model"))
    return StableDiffusion(StableDiffusionOptions.model_validate({"weights": folder}), Context(folder))


def write(backbone: Any, path: Path, **settings: Any) -> Path:
    from tiny_diffusion import lora_params

    torch.save(lora_params(backbone.unet, backbone.text_encoder, **settings), path)
    return path


def concept(path: Path, **options: Any) -> Any:
    from vswap_concepts.ed_lora import EdLoraConcept
    from vswap_concepts.register import EdLoraOptions

    return EdLoraConcept(EdLoraOptions.model_validate({"weights": path} | options), Context(path.parent))


def preflight(path: Path, **described: Any) -> None:
    from vswap_concepts.ed_lora import preflight as check
    from vswap_concepts.register import EdLoraOptions

    check(EdLoraOptions.model_validate({"weights": path}), Facts(1, (64, 64), (), described={"backbone": described}))


def ids(backbone: Any, text: str) -> list[int]:
    return list(backbone.tokenizer(text).input_ids)


def test_a_prompt_names_each_layers_own_words(backbone: Any, tmp_path: Path) -> None:
    made = concept(write(backbone, tmp_path / "toy.pth", words=("<toyA>", "<toyB>")))
    prompt = made.prompt("a <toyA> <toyB>, red")
    assert prompt.text == "a <toyA> <toyB>, red"
    assert len(prompt.per_layer) == 16
    assert prompt.per_layer[12] == "a <toyA_12> <toyB_12>, red"
    assert made.prompt("ugly") == Prompt("ugly")


def test_new_words_are_single_tokens_with_the_learned_vectors(backbone: Any, tmp_path: Path) -> None:
    made = concept(write(backbone, tmp_path / "toy.pth", words=("<toyA>", "<toyB>")), strength=0)
    size = len(backbone.tokenizer)
    table = backbone.text_encoder.get_input_embeddings()
    with made.attach(backbone):
        assert ids(backbone, "<toyB_3>")[1:-1] == [size + 16 + 3]
        found = table(torch.tensor([[0, size + 2, size + 16 + 3]]))[0]
    assert torch.equal(found[0], table.weight[0])
    assert torch.equal(found[1], made.lora.embeddings["<toyA>"][2])
    assert torch.equal(found[2], made.lora.embeddings["<toyB>"][3])
    assert len(backbone.tokenizer) == size
    assert len(ids(backbone, "<toyB_3>")) > 3


def test_strength_scales_the_change_and_detaching_undoes_it_exactly(backbone: Any, tmp_path: Path) -> None:
    path, name = write(backbone, tmp_path / "toy.pth"), "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    layer = backbone.unet.get_submodule(name)
    base, copy = layer.weight, layer.weight.clone()
    params = torch.load(path, weights_only=True)["params"]["unet"]
    delta = params[f"{name}.lora_up.weight"] @ params[f"{name}.lora_down.weight"]
    for strength in (0.5, 1.5):
        with concept(path, strength=strength).attach(backbone):
            assert torch.allclose(layer.weight, copy + strength * delta, atol=1e-6)
            assert torch.equal(base, copy)
        assert layer.weight is base
        assert torch.equal(base, copy)
    text = Prompt("a red <toy>")
    before = backbone.embed_text(text)
    with concept(path, text_strength=0).attach(backbone):
        assert torch.equal(backbone.embed_text(Prompt("a red dog")), backbone.embed_text(Prompt("a red dog")))
    with concept(path).attach(backbone):
        assert not torch.allclose(backbone.embed_text(Prompt("a red dog")), before, atol=1e-3)
    assert torch.equal(backbone.embed_text(text), before)


def test_an_error_inside_detaches_too(backbone: Any, tmp_path: Path) -> None:
    made, tokenizer = concept(write(backbone, tmp_path / "toy.pth")), backbone.tokenizer
    weights = {name: value.data_ptr() for name, value in backbone.unet.named_parameters()}
    with pytest.raises(RuntimeError, match="on purpose"), made.attach(backbone):
        raise RuntimeError("on purpose")
    assert backbone.tokenizer is tokenizer
    assert weights == {name: value.data_ptr() for name, value in backbone.unet.named_parameters()}


def test_our_file_holds_the_same_as_the_references(backbone: Any, tmp_path: Path) -> None:
    from vswap_concepts.ed_lora_file import read_ed_lora, write_ed_lora

    first = read_ed_lora(write(backbone, tmp_path / "toy.pth", words=("<a>", "<b>")))
    write_ed_lora(first, tmp_path / "toy.safetensors")
    second = read_ed_lora(tmp_path / "toy.safetensors")
    assert set(second.embeddings) == {"<a>", "<b>"}
    for part in ("unet", "text_encoder"):
        ours, theirs = getattr(second, part), getattr(first, part)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name].delta(), theirs[name].delta()) for name in ours)
    assert torch.equal(second.embeddings["<a>"], first.embeddings["<a>"])


def test_the_references_file_is_written_as_it_was_read(backbone: Any, tmp_path: Path) -> None:
    from vswap_concepts.ed_lora_file import read_ed_lora, write_ed_lora

    original = write(backbone, tmp_path / "toy.pth", words=("<a>", "<b>"))
    write_ed_lora(read_ed_lora(original), tmp_path / "again.pth")
    before, after = (torch.load(path, weights_only=True)["params"] for path in (original, tmp_path / "again.pth"))
    assert before.keys() == after.keys()
    for part, tensors in before.items():
        assert after[part].keys() == tensors.keys()
        assert all(torch.equal(after[part][name], tensor) for name, tensor in tensors.items())


def test_a_concept_for_another_base_is_refused(backbone: Any, tmp_path: Path) -> None:
    from tiny_diffusion import unet

    path = write(backbone, tmp_path / "toy.pth")
    preflight(path, text_width=16, widths=(32, 32, 64, 64))
    with pytest.raises(InputError, match="another base: token embeddings of 16 channels, the backbone's have 768"):
        preflight(path, text_width=768)
    with pytest.raises(InputError, match="another base: 32 channels at level 0"):
        preflight(path, widths=(320, 640, 1280, 1280))
    wide = unet(block_out_channels=(64, 64, 64, 64))
    from tiny_diffusion import lora_params

    torch.save(lora_params(wide, backbone.text_encoder), tmp_path / "wide.pth")
    tokenizer = backbone.tokenizer
    with (
        pytest.raises(InputError, match="made for another base") as refused,
        concept(tmp_path / "wide.pth").attach(backbone),
    ):
        pass
    assert "\n" not in str(refused.value)
    assert backbone.tokenizer is tokenizer


class Code:
    """Runs a command when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.witness),)


def test_files_that_are_no_concepts_are_refused(backbone: Any, tmp_path: Path) -> None:
    good = torch.load(write(backbone, tmp_path / "toy.pth"), weights_only=True)["params"]
    lone = dict(list(good["unet"].items())[:1])
    bad = {
        "pickle holds code": {"params": Code(tmp_path / "ran")},
        "no embedding of a new word": {"unet.a.lora_down.weight": torch.zeros(1, 2)},
        "has no new_concept_embedding": {"params": {"unet": {}}},
        "no lora_up": {"params": {"new_concept_embedding": good["new_concept_embedding"], "unet": lone}},
        "isn't one row for each": {"params": {"new_concept_embedding": {"<toy>": torch.zeros(3)}}},
    }
    for message, content in bad.items():
        torch.save(content, tmp_path / "bad.pth")
        with pytest.raises(InputError, match=message) as refused:
            preflight(tmp_path / "bad.pth")
        assert "\n" not in str(refused.value)
    (tmp_path / "bad.pth").write_bytes(b"")
    with pytest.raises(InputError, match="damaged"):
        preflight(tmp_path / "bad.pth")
    assert not (tmp_path / "ran").exists()


def test_text_changes_nothing(backbone: Any, tmp_path: Path) -> None:
    from vswap_concepts.text import Text

    word = Text(NoOptions(), Context(tmp_path))
    before = backbone.embed_text(Prompt("a dog"))
    with word.attach(backbone):
        assert torch.equal(backbone.embed_text(word.prompt("a dog")), before)
