"""The captured cross-attention maps are those that attention itself works with."""

from __future__ import annotations

from typing import Any

import pytest

from vswap_kernel.errors import InputError
from vswap_kernel.protocols import Window
from vswap_kernel.types import Prompt

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")


class Recording:
    """An attention processor that keeps its probabilities."""

    def __init__(self) -> None:
        self.kept: Any = None

    def __call__(self, attn: Any, hidden_states: Any, encoder_hidden_states: Any = None, **kwargs: Any) -> Any:
        query, key = attn.to_q(hidden_states), attn.to_k(encoder_hidden_states)
        query, key, value = map(attn.head_to_batch_dim, (query, key, attn.to_v(encoder_hidden_states)))
        self.kept = attn.get_attention_scores(query, key)
        return attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(torch.bmm(self.kept, value))))


@pytest.fixture(scope="module")
def text(backbone: Any) -> Any:
    return torch.cat([backbone.embed_text(Prompt(words)) for words in ("a red car", "a dog")])


def latents(frames: int) -> Any:
    return torch.randn(frames, 4, 16, 8, generator=torch.Generator().manual_seed(0))


def test_maps_are_the_attention_probabilities(backbone: Any, text: Any) -> None:
    layer, tokens = 8, (2, 5, 76)
    attention = backbone.unet.get_submodule(backbone.layers[layer].path)
    with torch.no_grad(), backbone.capture_attention(tokens, [layer, 0]) as maps:
        plain = backbone.predict(latents(6), 500, text, frames=3)
        found = maps[layer]
        assert set(maps) == {layer, 0}
    before, recording = attention.processor, Recording()
    attention.set_processor(recording)
    with torch.no_grad():
        backbone.predict(latents(6), 500, text, frames=3)
    attention.set_processor(before)
    stride = backbone.layers[layer].stride
    expected = recording.kept.unflatten(0, (6, -1)).mean(1)[..., list(tokens)].transpose(1, 2)
    assert found.shape == (2, 3, 3, 16 // stride, 8 // stride)
    assert torch.allclose(found.flatten(0, 1).flatten(2), expected, atol=1e-6)
    with torch.no_grad():
        assert torch.equal(plain, backbone.predict(latents(6), 500, text, frames=3))


def test_nothing_is_kept_once_the_capture_ends(backbone: Any, text: Any) -> None:
    with torch.no_grad(), backbone.capture_attention([1], [3]) as maps:
        backbone.predict(latents(2), 500, text[:1], frames=2)
        first = maps[3]
        backbone.predict(latents(2), 100, text[:1], frames=2)
        assert not torch.equal(first, maps[3])
        last = maps[3]
    with torch.no_grad():
        backbone.predict(latents(2), 500, text[:1], frames=2)
    assert torch.equal(maps[3], last)


def test_maps_of_windows_cover_the_clip(backbone: Any, text: Any) -> None:
    with torch.no_grad(), backbone.capture_attention([2], [4]) as maps:
        backbone.predict(latents(7), 500, text[:1], frames=7)
        whole = maps[4]
        backbone.window = Window(4, 2)
        backbone.predict(latents(7), 500, text[:1], frames=7)
        backbone.window = None
        assert torch.allclose(maps[4], whole, atol=1e-5)


def test_tokens_and_layers_that_are_not_there_are_refused(backbone: Any) -> None:
    for tokens, layers in (([77], [0]), ([0], [16])):
        with pytest.raises(InputError, match="there are 77 tokens and 16 layers"):  # noqa: SIM117
            with backbone.capture_attention(tokens, layers):
                pass
