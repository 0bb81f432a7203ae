"""The method's other parts, by loops over points, cells and tokens: adapter, patch masks, LoRA, words, DDIM, blending.

Written from the README of the recordings; nothing of vswap is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

STRIDES = (8, 16, 32, 64)


def adapter_states(
    weights: Mapping[str, Tensor],
    embedding: Tensor,
    tracks: Tensor,
    kept: Sequence[int],
    size_hw: tuple[int, int],
    strength: float = 1.0,
) -> list[Tensor]:
    """Maps [F, C, h, w] of each level, point by point and neighbour by neighbour."""
    states = []
    for level, stride in enumerate(STRIDES):
        name = f"model_list.{level}.mlp"
        hidden = functional.silu(embedding @ weights[f"{name}.0.weight"].T + weights[f"{name}.0.bias"])
        features = hidden @ weights[f"{name}.2.weight"].T + weights[f"{name}.2.bias"]
        rows, columns = size_hw[0] // stride, size_hw[1] // stride
        places, shares = [], []
        for frame in range(len(tracks)):
            for point in kept:
                for y, x, share in neighbours(tracks[frame, point] / stride, rows, columns):
                    places.append((frame, y, x, point))
                    shares.append(share)
        state = torch.zeros(len(tracks), rows, columns, features.shape[1])
        if places:
            frames, ys, xs, points = torch.tensor(places).unbind(1)
            state = state.index_put((frames, ys, xs), features[points] * torch.stack(shares)[:, None], accumulate=True)
        states.append(strength * state.permute(0, 3, 1, 2))
    return states


def neighbours(place: Tensor, rows: int, columns: int) -> list[tuple[int, int, Tensor]]:
    """(row, column, share) of the four cells about a place; none where it is invisible."""
    if bool((place < 0).any()):
        return []
    x, y = int(place[0]), int(place[1])
    right, down = place[0] - x, place[1] - y
    corners = [(y, x, (1 - down) * (1 - right)), (y, x + 1, (1 - down) * right)]
    corners += [(y + 1, x, down * (1 - right)), (y + 1, x + 1, down * right)]
    return [(min(row, rows - 1), min(column, columns - 1), share) for row, column, share in corners]


def patch_mask(tracks: Tensor, kept: Sequence[int], rows: int, columns: int) -> Tensor:
    """uint8 [F, 4, rows, columns]: 4x4 cells about each visible point, in all frames, never the last row or column."""
    mask = torch.zeros(len(tracks), 4, rows, columns, dtype=torch.uint8)
    for frame in range(len(tracks)):
        for point in kept:
            x, y = tracks[frame, point].tolist()
            if x < 0 or y < 0:
                continue
            column, row = int(x / 8), int(y / 8)
            top, bottom = max(row - 2, 0), min(row + 2, rows - 1)
            left, right = max(column - 2, 0), min(column + 2, columns - 1)
            mask[:, :, top:bottom, left:right] = 1
    return mask


def merged(base: Mapping[str, Tensor], changes: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Weights plus alpha * up @ down."""
    result = dict(base)
    for name, up in changes.items():
        if name.endswith(".lora_up.weight"):
            place = name.removesuffix(".lora_up.weight")
            result[f"{place}.weight"] = base[f"{place}.weight"] + alpha * (up @ changes[f"{place}.lora_down.weight"])
    return result


def word_places(tokens_per_word: Sequence[int], words: Sequence[str], subject: str) -> list[int]:
    """Token positions of each word of the subject, wherever it stands; tokens_per_word: of the prompt's `words`."""
    places: list[int] = []
    position = 1
    for word, count in zip(words, tokens_per_word, strict=True):
        if word in subject.split(" "):
            places += range(position, position + count)
        position += count
    return places


def alignment(source: Sequence[int], target: Sequence[int]) -> tuple[Tensor, Tensor]:
    """(mapper int64 [77], alphas [77]): global alignment, match 1, mismatch -1, gap 0; a gap in the source first, then
    one in the target, then a pair."""
    score = {(i, j): 0 for i in range(len(source) + 1) for j in range(len(target) + 1)}
    move: dict[tuple[int, int], str] = {}
    for i, old in enumerate(source, 1):
        for j, new in enumerate(target, 1):
            choices = {"target": score[i, j - 1], "source": score[i - 1, j]}
            choices["pair"] = score[i - 1, j - 1] + (1 if old == new else -1)
            move[i, j] = max(choices, key=choices.__getitem__)
            score[i, j] = choices[move[i, j]]
    pairs, i, j = [-1] * len(target), len(source), len(target)
    while i and j:
        if move[i, j] == "target":
            j -= 1
        elif move[i, j] == "source":
            i -= 1
        else:
            i, j = i - 1, j - 1
            pairs[j] = i
    mapper = [*pairs, *range(len(target), 77)]
    return torch.tensor(mapper), torch.tensor([float(place >= 0) for place in mapper])


def soft_mask(attention: Tensor, rows: int, columns: int) -> Tensor:
    """[F, rows, columns] of attention [F, h, w]: the largest of 3x3 cells, of the nearest cell, over the frame's."""
    frames, height, width = attention.shape
    wide = torch.zeros(frames, height, width)
    for y in range(height):
        for x in range(width):
            around = attention[:, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            wide[:, y, x] = around.amax((1, 2))
    large = wide[:, torch.arange(rows) * height // rows][:, :, torch.arange(columns) * width // columns]
    return large / large.amax((1, 2), keepdim=True)


def ddim_step(latents: Tensor, noise: Tensor, here: Tensor, there: Tensor) -> Tensor:
    """From the level whose share of signal is `here` to that of `there`."""
    clean = (latents - (1 - here) ** 0.5 * noise) / here**0.5
    return there**0.5 * clean + (1 - there) ** 0.5 * noise


def alphas_cumprod() -> Tensor:
    """Of Stable Diffusion 1.5."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float32) ** 2
    return torch.cumprod(1 - betas, 0)


def adamw(
    weights: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    moments: dict[str, tuple[Tensor, Tensor]],
    step: int,
    rate: float,
    decay: float,
) -> dict[str, Tensor]:
    """The weights after a step (counted from 1) of AdamW with betas 0.9 and 0.999."""
    after = {}
    for name, weight in weights.items():
        gradient = gradients[name]
        first, second = moments.get(name, (torch.zeros_like(weight), torch.zeros_like(weight)))
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        moments[name] = first, second
        direction = (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)) ** 0.5 + 1e-8)
        after[name] = weight * (1 - rate * decay) - rate * direction
    return after
