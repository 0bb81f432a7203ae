"""Which words of the source prompt are still in the target prompt, and for how many steps their attention is the
source's (Hertz et al., "Prompt-to-Prompt Image Editing with Cross Attention Control", 2022, section 3.2).

The two token sequences are aligned globally (Needleman and Wunsch, 1970): 1 for a pair of equal tokens, 0 for a token
that has no partner. Different tokens are never paired, so that a replaced word is a word that went and one that came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vswap_kernel.types import Prompt

TOKENS = 77


@dataclass(frozen=True, eq=False)
class WordAlignment:
    """For each token position of the target prompt: mapper int64 [77], the position in the source prompt, -1 if the
    token is new; alphas float32 [77], the share that the source's attention has in it: 0 where it is new, else 1."""

    mapper: Tensor
    alphas: Tensor


def prompt_tokens(tokenizer: Any, prompt: Prompt, *, unbound: bool = False) -> list[int]:
    """Token ids as the U-Net gets them, from the start token to the end token, 77 at most.

    Args:
        tokenizer: the backbone's, with the concept attached if the prompt is the concept's.
        prompt: of the concept: what its first layer reads, one token for each new word (all layers have as many).
        unbound: the reference's slip: new words are read as the tokenizer without the concept would, in pieces.
    """
    text = prompt.text if unbound or prompt.per_layer is None else prompt.per_layer[0]
    ids: list[int] = tokenizer(text, truncation=True, max_length=TOKENS).input_ids
    return ids


def aligned(source: Sequence[int], target: Sequence[int]) -> WordAlignment:
    """Align the tokens of two prompts; positions behind the target's last token are paired with the same positions of
    the source. Of equally good alignments, that with the earliest target tokens, then the earliest source tokens."""
    best = [[0] * (len(target) + 1) for _ in range(len(source) + 1)]
    for i, old in enumerate(source, 1):
        for j, new in enumerate(target, 1):
            best[i][j] = max(best[i][j - 1], best[i - 1][j], best[i - 1][j - 1] + 1 if old == new else 0)
    mapper = torch.arange(TOKENS)
    mapper[: len(target)] = -1
    i, j = len(source), len(target)
    while i and j:
        if best[i][j] == best[i][j - 1]:
            j -= 1
        elif best[i][j] == best[i - 1][j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            mapper[j] = i
    return WordAlignment(mapper, (mapper >= 0).float())


def replace_schedule(
    steps: int, share: float, words: Mapping[int, float] | None = None, *, reference_counts: bool = False
) -> Tensor:
    """By step and token position of the target prompt, whether its cross-attention is replaced: float32 [steps, 77].

    Args:
        steps: of the whole sampling.
        share: of all steps, from the first one, exclusive.
        words: for token positions of the target prompt, a share of their own.
        reference_counts: as the reference counts: one row more, and the share is one of all rows, rounded down.
    """
    rows = steps + int(reference_counts)
    ends = torch.tensor([(words or {}).get(token, share) for token in range(TOKENS)], dtype=torch.float64) * rows
    return (torch.arange(rows)[:, None] < (ends.floor() if reference_counts else ends)).float()
