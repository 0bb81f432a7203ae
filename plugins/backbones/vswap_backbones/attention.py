"""Cross-attention maps of chosen tokens, read beside whatever attention kernel is at work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vswap_backbones.windows import Part

_AT_ONCE = 2**24  # attention scores held at a time: 64 MiB of float32


def token_maps(query: Tensor, key: Tensor, heads: int, scale: float, tokens: Sequence[int]) -> Tensor:
    """How much each query looks at each of the tokens.

    Args:
        query: [N, queries, heads * d].
        key: [N, 77, heads * d].
        heads: number of heads.
        scale: factor on the scores before the softmax over all 77 tokens.
        tokens: positions 0..76.

    Returns:
        float32 [N, tokens, queries], the mean over heads.
    """
    rows = max(1, _AT_ONCE // (query.shape[1] * key.shape[1] * heads))
    found = []
    for q, k in zip(query.split(rows), key.split(rows), strict=True):
        q, k = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k))
        scores = (q @ k.transpose(-1, -2)).float() * scale
        found.append(scores.softmax(-1)[..., list(tokens)].mean(1).transpose(1, 2))
    return torch.cat(found)


class Capture(Mapping[int, Tensor]):
    """By layer number, the maps [B, F, tokens, h, w] of the last pass. See `Backbone.capture_attention`."""

    def __init__(self, modules: Mapping[int, Any], strides: Mapping[int, int], tokens: Sequence[int]) -> None:
        self._tokens, self._strides = tuple(tokens), strides
        self._maps: dict[int, Tensor] = {}
        self._flat: dict[int, Tensor] = {}
        self._query: dict[int, Tensor] = {}
        self._hooks: list[Any] = []
        for layer, attention in modules.items():
            self._hooks.append(attention.to_q.register_forward_hook(self._keep_query(layer)))
            self._hooks.append(attention.to_k.register_forward_hook(self._take(layer, attention)))

    def _keep_query(self, layer: int) -> Any:
        def hook(module: Any, args: Any, query: Tensor) -> None:
            self._query[layer] = query.detach()

        return hook

    def _take(self, layer: int, attention: Any) -> Any:
        def hook(module: Any, args: Any, key: Tensor) -> None:
            query = self._query.pop(layer)
            with torch.no_grad():
                self._flat[layer] = token_maps(query, key.detach(), attention.heads, attention.scale, self._tokens)

        return hook

    def begin(self) -> None:
        """A new prediction: forget the last one."""
        self._maps.clear()

    def collect(self, frames: int, grid: tuple[int, int], part: Part | None, whole: int) -> None:
        """After a pass: give its maps their shape, and blend them into those of the `whole` clip."""
        for layer, flat in self._flat.items():
            side = self._strides[layer]
            maps = flat.unflatten(0, (-1, frames)).unflatten(-1, (-(-grid[0] // side), -(-grid[1] // side)))
            if part is None:
                self._maps[layer] = maps
                continue
            if layer not in self._maps:
                self._maps[layer] = maps.new_zeros(maps.shape[0], whole, *maps.shape[2:])
            part.add_to(self._maps[layer], maps)
        self._flat.clear()

    def close(self) -> None:
        """Take the hooks out; the maps stay readable."""
        for hook in self._hooks:
            hook.remove()

    def __getitem__(self, layer: int) -> Tensor:
        return self._maps[layer]

    def __iter__(self) -> Iterator[int]:
        return iter(self._maps)

    def __len__(self) -> int:
        return len(self._maps)
