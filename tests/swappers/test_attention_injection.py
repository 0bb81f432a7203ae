"""Word alignment and attention injection on a tiny model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from vswap_kernel.api import Context
from vswap_kernel.errors import InputError
from vswap_kernel.protocols import CrossAttentionLayer, Window
from vswap_kernel.registry import Registry
from vswap_kernel.types import Prompt
from vswap_swappers.point_diffusion.attention_injection import (
    InjectedGuidance,
    InjectionOptions,
    InvertedSource,
    injection_layers,
    reference_injection_layers,
)
from vswap_swappers.point_diffusion.guidance import Guidance, text_pair
from vswap_swappers.point_diffusion.source_attention import cross_replaced, self_attention, source_attention
from vswap_swappers.point_diffusion.word_alignment import WordAlignment, aligned, prompt_tokens, replace_schedule
from vswap_swappers.point_diffusion.word_attention import reference_word_positions, word_positions

FRAMES, STEPS = 5, 4
SAME = WordAlignment(torch.arange(77), torch.ones(77))


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    from tiny_diffusion import write_model

    folder = write_model(tmp_path_factory.mktemp("model"))
    registry, scratch = Registry.discover(), tmp_path_factory.mktemp("scratch")
    return lambda dtype: registry.create("backbone", "sd15", {"weights": folder}, Context(scratch, dtype=dtype))


@pytest.fixture(scope="module")
def backbone(make: Callable[[str], Any]) -> Any:
    """Tests leave it as it was."""
    return make("float32")


def latents(seed: int = 0) -> Any:
    return torch.randn(FRAMES, 4, 8, 16, generator=torch.Generator().manual_seed(seed))


def guidance(backbone: Any, scale: float = 3.0, prompt: str = "a red car") -> Guidance:
    text = [backbone.embed_text(Prompt(words)) for words in ("ugly", prompt)]
    return Guidance(backbone, text_pair(*text), scale, STEPS)


def source(backbone: Any, inverted: Any, attention: Any = None) -> InvertedSource:
    """An inversion that has the same latents at every level; without attention, nothing is inside."""
    shown = torch.zeros(FRAMES, 2, 4) if attention is None else attention
    text = backbone.embed_text(Prompt("a red car"))
    return InvertedSource([inverted] * STEPS, [500] * STEPS, text, [shown] * STEPS)


def injecting(backbone: Any, inverted: Any, attention: Any = None, **changes: Any) -> InjectedGuidance:
    layers = injection_layers(backbone.layers)
    own = {"guidance": guidance(backbone), "alignment": SAME, "layers": layers} | changes
    return InjectedGuidance(source=source(backbone, inverted, attention), **own)


@torch.no_grad()
def noise(predict: Any, step: int = 0) -> Any:
    return predict(latents(), 500, step)


def test_a_clips_own_attention_changes_nothing(backbone: Any) -> None:
    assert torch.allclose(noise(injecting(backbone, latents())), noise(guidance(backbone)), atol=1e-5)


def test_another_clips_attention_changes_the_prompts_half_alone(backbone: Any) -> None:
    for kind in ({"cross_replace": 0.0}, {"self_replace": 0.0}):
        changed = noise(injecting(backbone, latents(1), options=InjectionOptions(**kind)))
        assert not torch.allclose(changed, noise(guidance(backbone)), atol=1e-4)
    negative = guidance(backbone, scale=0.0)
    assert torch.equal(noise(injecting(backbone, latents(1), guidance=negative)), noise(negative))


def test_self_attention_is_the_edits_own_where_the_old_subject_was(backbone: Any) -> None:
    options, plain = InjectionOptions(cross_replace=0.0), noise(guidance(backbone))
    everywhere = injecting(backbone, latents(1), torch.ones(FRAMES, 2, 4), options=options)
    assert torch.equal(noise(everywhere), plain)
    one_frame = torch.zeros(FRAMES, 2, 4)
    one_frame[2] = 1.0
    changed = (noise(injecting(backbone, latents(1), one_frame, options=options)) != plain).flatten(1).any(1)
    assert changed.tolist() == [True, True, False, True, True]


def test_windows_are_matched_with_the_sources(backbone: Any) -> None:
    shown = torch.rand(FRAMES, 2, 4, generator=torch.Generator().manual_seed(2))
    predict = injecting(backbone, latents(1), shown, options=InjectionOptions(threshold=0.9))
    in_one, path = noise(predict), self_attention(backbone.layers[5].path)
    text = backbone.embed_text(Prompt("a red car"))
    backbone.window = Window(3, 1)
    try:
        in_windows = noise(predict)
        recorded = source_attention(backbone, [path], latents(1), 500, text)
    finally:
        backbone.window = None
    assert {first: len(queries) for first, queries in recorded.queries[path].items()} == {0: 3, 2: 3}
    whole = source_attention(backbone, [path], latents(1), 500, text).queries[path][0]
    assert torch.allclose(recorded.queries[path][2], whole[2:], atol=1e-4)
    assert torch.allclose(in_windows, in_one, atol=1e-4)


def test_replaced_cross_attention_is_that_of_mixed_probabilities(backbone: Any) -> None:
    layer = backbone.layers[7]
    attention, text = backbone.unet.get_submodule(layer.path), backbone.embed_text(Prompt("a red car"))
    recorded = source_attention(backbone, [layer.path], latents(1), 500, text)
    alignment, weight = aligned([80, 3, 4, 5, 81], [80, 3, 6, 7, 5, 81]), torch.rand(77)
    weight = weight * alignment.alphas
    query = torch.randn_like(recorded.queries[layer.path][0])
    key, value = (torch.randn_like(recorded.keys[layer.path][0]) for _ in range(2))

    def probabilities(query: Any, key: Any) -> Any:
        return attention.get_attention_scores(*map(attention.head_to_batch_dim, (query, key)))

    old = probabilities(recorded.queries[layer.path][0], recorded.keys[layer.path][0])[..., alignment.mapper]
    mixed = old * weight + probabilities(query, key) * (1 - weight)
    wanted = attention.batch_to_head_dim(mixed @ attention.head_to_batch_dim(value))
    change = cross_replaced(recorded, layer.path, alignment.mapper, weight)
    assert torch.allclose(change(query, query, key, value, attention, 0), wanted, atol=1e-5)


def test_the_source_runs_without_the_concept_and_in_injected_steps_only(backbone: Any) -> None:
    attached, passes = [True], []

    @contextmanager
    def without_concept() -> Iterator[None]:
        attached[0] = False
        yield
        attached[0] = True

    predict = injecting(backbone, latents(1), without_concept=without_concept)
    with torch.no_grad():
        hook = backbone.unet.register_forward_pre_hook(lambda unet, args: passes.append((len(args[0]), *attached)))
        for step in range(STEPS):
            predict(latents(), 500, step)
        hook.remove()
    injected, plain = [(FRAMES, False), (2 * FRAMES, True)], [(2 * FRAMES, True)]
    assert passes == [*injected, *injected, *plain, *plain]


def test_captured_attention_is_the_edits(backbone: Any) -> None:
    with torch.no_grad(), backbone.capture_attention([2], [7]) as maps:
        noise(injecting(backbone, latents(1), options=InjectionOptions(self_replace=0.0)))
        first = maps[7].clone()
        noise(guidance(backbone))
        assert first.shape == maps[7].shape == (2, FRAMES, 1, 2, 4)
        assert torch.equal(first[0], maps[7][0])


def test_processors_and_hooks_are_as_before_even_after_a_failure(backbone: Any) -> None:
    def state() -> list[Any]:
        modules = [*backbone.unet.modules()]
        hooks = [(*module._forward_hooks.values(), *module._forward_pre_hooks.values()) for module in modules]
        return [getattr(module, "processor", None) for module in modules] + hooks

    before, plain = state(), noise(guidance(backbone))
    noise(injecting(backbone, latents(1)))
    assert state() == before

    broken = replace(guidance(backbone), residuals=[])
    with pytest.raises(InputError, match="residuals of 0 levels"):
        noise(injecting(backbone, latents(1), guidance=broken))
    assert state() == before
    assert torch.equal(noise(guidance(backbone)), plain)


def test_half_precision_works(make: Callable[[str], Any]) -> None:
    small = make("bfloat16")
    small.window = Window(3, 1)
    injected, plain = noise(injecting(small, latents())), noise(guidance(small))
    assert (injected - plain).abs().mean() < 0.02 * plain.abs().mean()


def test_the_layers_are_coarse_ones_at_any_resolution_or_the_references() -> None:
    strides = (1, 1, 2, 2, 4, 4, 8, 4, 4, 4, 2, 2, 2, 1, 1, 1)
    layers = [CrossAttentionLayer("", "down", stride) for stride in strides]
    assert injection_layers(layers) == [4, 5, 6, 7, 8, 9]
    assert reference_injection_layers(layers, (56, 96)) == [4, 5, 6, 7, 8, 9]
    assert reference_injection_layers(layers, (32, 48)) == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize(
    ("source", "target", "mapper"),
    [
        ("abc", "abc", [0, 1, 2]),
        ("abc", "axbc", [0, -1, 1, 2]),
        ("abc", "ac", [0, 2]),
        ("abcd", "axycd", [0, -1, -1, 2, 3]),
        ("abcde", "axcye", [0, -1, 2, -1, 4]),
        ("abbc", "abc", [0, 1, 3]),
        ("ab", "aab", [0, -1, 1]),
        ("ab", "xy", [-1, -1]),
    ],
)
def test_kept_words_are_paired_and_new_ones_are_not(source: str, target: str, mapper: list[int]) -> None:
    found = aligned([*map(ord, source)], [*map(ord, target)])
    assert found.mapper.tolist() == mapper + list(range(len(target), 77))
    assert found.alphas.tolist() == [float(place >= 0) for place in mapper] + [1.0] * (77 - len(target))


def test_a_concepts_word_is_one_token_unless_asked_otherwise(backbone: Any, tmp_path: Path) -> None:
    from tiny_diffusion import lora_params

    torch.save(lora_params(backbone.unet, backbone.text_encoder), tmp_path / "toy.pth")
    concept = Registry.discover().create("concept", "ed-lora", {"weights": tmp_path / "toy.pth"}, Context(tmp_path))
    prompt, pieces = concept.prompt("a <toy> go"), prompt_tokens(backbone.tokenizer, Prompt("a <toy> go"))
    with concept.attach(backbone):
        bound = prompt_tokens(backbone.tokenizer, prompt)
        assert prompt_tokens(backbone.tokenizer, prompt, unbound=True) == pieces
        assert word_positions(backbone, prompt, concept.prompt("<toy>")) == [2]
    assert len(bound) < len(pieces)
    old = prompt_tokens(backbone.tokenizer, Prompt("a c go"))
    assert aligned(old, bound).mapper[: len(bound)].tolist() == [0, 1, -1, *range(3, len(bound))]


def test_a_prompt_has_77_tokens_at_most(backbone: Any) -> None:
    assert len(prompt_tokens(backbone.tokenizer, Prompt("a " * 100))) == 77


def test_shares_are_of_all_steps_and_exclusive_or_counted_as_the_reference_counts() -> None:
    ours, theirs = (InjectionOptions(0.4, 0.4, reference_counts=slip) for slip in (False, True))
    assert (ours.self_steps(12), theirs.self_steps(12)) == (5, 4)
    assert ours.cross_steps(12)[:, 0].tolist() == [1.0] * 5 + [0.0] * 7
    assert theirs.cross_steps(12)[:, 0].tolist() == [1.0] * 5 + [0.0] * 8


def test_a_word_may_have_a_share_of_its_own() -> None:
    schedule = replace_schedule(10, 0.5, {3: 0.2})
    assert schedule.sum(0)[[2, 3, 4]].tolist() == [5.0, 2.0, 5.0]


def test_the_reference_sees_a_subjects_words_wherever_one_stands(backbone: Any) -> None:
    prompt = Prompt("a red car by a red wall")
    assert word_positions(backbone, prompt, Prompt("red car")) == [2, 3, 4, 5, 6, 7]
    assert reference_word_positions(backbone, prompt, Prompt("red car")) == [2, 3, 4, 5, 6, 7, 11, 12, 13]
    assert reference_word_positions(backbone, Prompt("a car, red"), Prompt("car")) == []
