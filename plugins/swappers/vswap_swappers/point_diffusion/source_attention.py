"""The attention of the source in the passes of an edit, by hooks on the projections beside whatever kernel is at work.

Nothing is stored from the inversion: its pass is run once more (`source_attention`), and its queries and keys are kept
for the one prediction into which they are put (`injected`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from vswap_kernel.protocols import Backbone

Change = Callable[[Tensor, Tensor, Tensor, Tensor, Any, int], Tensor]
"""The attention module's result [n, queries, C] for the prompt's half, changed: called with that result, the edit's
query [n, queries, C], key and value [n, keys, C], the module, and the number of the window's first frame."""


def self_attention(path: str) -> str:
    """The path of the self-attention module beside a cross-attention module."""
    return path.removesuffix("attn2") + "attn1"


@dataclass(frozen=True, eq=False)
class SourceAttention:
    """What attention modules did in one prediction of the source: by path of the module and first frame of the window,
    queries [n, queries, C] and keys [n, keys, C]."""

    queries: dict[str, dict[int, Tensor]] = field(default_factory=dict)
    keys: dict[str, dict[int, Tensor]] = field(default_factory=dict)


@torch.no_grad()
def source_attention(
    backbone: Backbone, paths: Sequence[str], latents: Tensor, timestep: int, text: Tensor
) -> SourceAttention:
    """Run the source once and keep the queries and keys of the modules at `paths`.

    Args:
        backbone: without the concept.
        paths: of attention modules in its U-Net.
        latents: [F, 4, h, w].
        timestep: theirs.
        text: of the source prompt, [1, 77, C].
    """
    kept = SourceAttention()
    with ExitStack() as hooks:
        for path in paths:
            module = backbone.unet.get_submodule(path)
            for projection, where in ((module.to_q, kept.queries), (module.to_k, kept.keys)):
                hook = _keep(backbone, where.setdefault(path, {}))
                hooks.callback(projection.register_forward_hook(hook).remove)
        backbone.predict(latents, timestep, text, frames=len(latents))
    return kept


def _keep(backbone: Backbone, results: dict[int, Tensor]) -> Any:
    def hook(module: Any, args: Any, result: Tensor) -> None:
        results[backbone.first] = result

    return hook


def attend(attention: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention [n, queries, C] of all heads of a diffusers `Attention`, before its output projection."""
    q, k, v = (x.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for x in (query, key, value))
    return scaled_dot_product_attention(q, k, v, scale=attention.scale).transpose(1, 2).flatten(2)


def cross_replaced(source: SourceAttention, path: str, mapper: Tensor, weight: Tensor) -> Change:
    """The source's attention to words that both prompts have.

    The probability of target word j becomes weight[j] times that of the source's word mapper[j], plus 1 - weight[j]
    times its own. As that is linear, the values are weighted in place of the probabilities, which are never built.

    Args:
        source: of `source_attention`, with `path` in it.
        path: of the cross-attention module.
        mapper: int64 [77], see `word_alignment.WordAlignment`.
        weight: float [77], 0 where mapper is -1.
    """

    def change(result: Tensor, query: Tensor, key: Tensor, value: Tensor, attention: Any, first: int) -> Tensor:
        share = weight.to(value)[:, None]
        places = mapper.clamp_min(0).to(value.device)
        of_source = torch.zeros_like(value).index_add_(1, places, value * share)
        old = attend(attention, source.queries[path][first], source.keys[path][first], of_source)
        return old + attend(attention, query, key, value * (1 - share))

    return change


def self_replaced(source: SourceAttention, path: str, inside: Tensor) -> Change:
    """The source's self-attention, to the edit's values, for queries outside a mask, bool [F, queries]."""

    def change(result: Tensor, query: Tensor, key: Tensor, value: Tensor, attention: Any, first: int) -> Tensor:
        old = attend(attention, source.queries[path][first], source.keys[path][first], value)
        own = inside[first : first + len(result), :, None].to(result.device)
        return torch.where(own, result, old)

    return change


@contextmanager
def injected(backbone: Backbone, changes: Mapping[str, Change]) -> Iterator[None]:
    """While open, what the attention modules at those paths make of the last clip of a batch is changed. Open it for
    one prediction, of a clip as long as the source's."""
    with ExitStack() as hooks:
        for path, change in changes.items():
            attention, seen = backbone.unet.get_submodule(path), dict[str, Tensor]()
            for name in ("to_q", "to_k", "to_v"):
                hooks.callback(getattr(attention, name).register_forward_hook(_remember(seen, name)).remove)
            hook = _changed(backbone, attention, seen, change)
            hooks.callback(attention.to_out[0].register_forward_pre_hook(hook).remove)
        yield


def _remember(seen: dict[str, Tensor], name: str) -> Any:
    def hook(module: Any, args: Any, result: Tensor) -> None:
        seen[name] = result

    return hook


def _changed(backbone: Backbone, attention: Any, seen: dict[str, Tensor], change: Change) -> Any:
    def hook(module: Any, args: tuple[Tensor]) -> tuple[Tensor]:
        clip = slice(len(args[0]) - backbone.frames, None)
        query, key, value = (seen.pop(name)[clip] for name in ("to_q", "to_k", "to_v"))
        new = change(args[0][clip], query, key, value, attention, backbone.first)
        return (torch.cat([args[0][: clip.start], new]),)

    return hook
