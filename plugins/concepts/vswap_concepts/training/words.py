"""The new words: what they begin as, how texts with them become tokens, and how they live in the text encoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vswap_concepts.ed_lora import new_words
from vswap_concepts.ed_lora_file import EdLora
from vswap_concepts.training.draws import Draws
from vswap_concepts.training.settings import Subject
from vswap_kernel.errors import InputError
from vswap_kernel.protocols import Backbone
from vswap_kernel.types import Prompt


def first_vectors(subject: Subject, backbone: Backbone, draws: Draws) -> Tensor:
    """float32 [words, layers, C] of the words before training, the same at every layer.

    The last word begins as the class word (the mean of its tokens, where it has several). The others begin as noise of
    the spread of all token embeddings, as in "Mix-of-Show" (in SD 1.5's table, 0.013).

    Raises:
        InputError: the model's tokenizer can't read the class word.
    """
    table = backbone.text_encoder.get_input_embeddings().weight.detach().float().cpu()
    tokenizer = backbone.tokenizer
    ids = tokenizer(subject.class_word, add_special_tokens=False).input_ids
    if not ids or tokenizer.unk_token_id in ids:
        raise InputError(f"--class {subject.class_word!r}: the model's tokenizer doesn't know it; choose another word")
    of_class, spread = table[ids].mean(0), float(table.std())
    vectors = []
    for index in range(len(subject.words)):
        noise = torch.randn(of_class.shape, generator=draws.generator("words", index))
        vectors.append(of_class if index == len(subject.words) - 1 else noise * spread)
    return torch.stack(vectors).unsqueeze(1).repeat(1, len(backbone.layers), 1)


def tokens(texts: Iterable[str], subject: Subject, vectors: Tensor, backbone: Backbone) -> dict[str, Tensor]:
    """Token ids by text: int64 [layers, 77] for one with new words, of which each layer has its own; else [1, 77].

    The ids of the new words follow on those of the model's own, all layers of the first word first.

    Raises:
        InputError: the model already has such a word, or a text is so long that the end of the subject's name is lost.
    """
    length = backbone.embed_text(Prompt("")).shape[1]
    lora = EdLora(Path(subject.name), dict(zip(subject.words, vectors, strict=True)), {}, {})
    known, made = len(backbone.tokenizer), {}
    with new_words(lora, backbone):
        for text in dict.fromkeys(texts):
            layers = range(len(backbone.layers)) if any(word in text for word in subject.words) else range(1)
            told = [_of_layer(text, subject, layer) for layer in layers]
            read = backbone.tokenizer(
                told, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
            ).input_ids
            if len(told) > 1 and int((read[0] >= known).sum()) < len(subject.words):
                raise InputError(f"{text!r}: the text is too long, the subject's name is cut off; shorten it")
            made[text] = read
    return made


def _of_layer(text: str, subject: Subject, layer: int) -> str:
    """The text as `EdLoraConcept.prompt` gives it to a layer."""
    for word in subject.words:
        text = text.replace(word, f"{word[:-1]}_{layer}>")
    return text


@contextmanager
def live_words(table: Any, first: int, vectors: Tensor) -> Iterator[None]:
    """The token embedding `table` gives the rows of `vectors` [words, layers, C] for ids from `first` on. Gradients
    flow into them, which the loader's own `new_words`, that copies, would not let them."""
    seen: list[Tensor] = []

    def known_ids(module: Any, args: tuple[Tensor]) -> tuple[Tensor]:
        seen.append(args[0])
        return (args[0].where(args[0] < first, 0),)

    def with_vectors(module: Any, args: Any, output: Tensor) -> Tensor:
        ids, rows = seen.pop(), vectors.flatten(0, 1)
        mine = rows.to(output)[(ids - first).clamp(min=0)]
        return mine.where((ids >= first).unsqueeze(-1), output)

    hooks = (table.register_forward_pre_hook(known_ids), table.register_forward_hook(with_vectors))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
