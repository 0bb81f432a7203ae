"""`ed-lora`: a concept learned from photos, as ED-LoRA (Gu et al., "Mix-of-Show", NeurIPS 2023): new words with a token
embedding for each cross-attention layer, and low-rank changes of text encoder and U-Net."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from tokenizers import AddedToken
from torch import Tensor

from vswap_concepts.ed_lora_file import EdLora, LowRank, read_ed_lora
from vswap_concepts.register import EdLoraOptions
from vswap_kernel.api import Context, Facts
from vswap_kernel.errors import InputError
from vswap_kernel.protocols import Backbone
from vswap_kernel.types import Prompt


def preflight(options: EdLoraOptions, facts: Facts) -> None:
    """Check the concept against what is known of the backbone.

    Raises:
        InputError: made for another base, damaged, a pickle with code in it, or a prompt without its words.
    """
    lora = read_ed_lora(options.weights)
    _check_words(lora, facts.prompt.target)
    backbone = facts.described.get("backbone", {})
    text, widths = backbone.get("text_width", lora.text_width), backbone.get("widths", ())
    if text != lora.text_width:
        raise _other_base(lora, f"token embeddings of {lora.text_width} channels, the backbone's have {text}")
    for level, width in lora.unet_widths():
        if widths and (level >= len(widths) or widths[level] != width):
            raise _other_base(lora, f"{width} channels at level {level}, the backbone's levels have {widths}")


def _check_words(lora: EdLora, prompt: str) -> None:
    """Raises InputError for a prompt without any of the concept's words, or with another new word in it."""
    known = ", ".join(lora.embeddings)
    unknown = [word for word in re.findall(r"<[^<>\s]+>", prompt) if word not in lora.embeddings]
    if unknown:
        raise InputError(f"prompt.replace: {unknown[0]!r} is no word of {lora.path}, which knows {known}")
    if prompt and not any(word in prompt for word in lora.embeddings):
        raise InputError(f"prompt.replace: {prompt!r} has none of the words of {lora.path}: {known}; write them there")


def _other_base(lora: EdLora, why: str) -> InputError:
    return InputError(f"{lora.path}: a concept made for another base: {why}")


class EdLoraConcept:
    """Implements `vswap_kernel.protocols.Concept`."""

    def __init__(self, options: EdLoraOptions, context: Context) -> None:
        """Read the file.

        Raises:
            InputError: damaged, no ED-LoRA, or a pickle with code in it.
        """
        self._options = options
        self.lora = read_ed_lora(options.weights)

    def prompt(self, text: str, /) -> Prompt:
        """The text with its new words known; layer i reads "<word_i>" for "<word>". Text without any of them, such as a
        negative prompt, is the same for all layers."""
        if not any(word in text for word in self.lora.embeddings):
            return Prompt(text)
        texts = []
        for layer in range(self.lora.layers):
            own = text
            for word in self.lora.embeddings:
                own = own.replace(word, _token(word, layer))
            texts.append(own)
        return Prompt(text, tuple(texts))

    @contextmanager
    def attach(self, backbone: Backbone, /) -> Iterator[None]:
        """See `Concept.attach`. The base's own tensors are set aside, not written to.

        Raises:
            InputError: made for another base.
        """
        lora, strength = self.lora, self._options.strength
        if lora.layers != len(backbone.layers):
            counts = f"{lora.layers} cross-attention layers, the backbone has {len(backbone.layers)}"
            raise _other_base(lora, counts)
        text_strength = strength if self._options.text_strength is None else self._options.text_strength
        with ExitStack() as undo:
            undo.enter_context(new_words(lora, backbone))
            undo.enter_context(changed_weights(lora, backbone.text_encoder, lora.text_encoder, text_strength))
            undo.enter_context(changed_weights(lora, backbone.unet, lora.unet, strength))
            yield


def _token(word: str, layer: int) -> str:
    return f"{word[:-1]}_{layer}>" if word.endswith(">") else f"{word}_{layer}"


@contextmanager
def new_words(lora: EdLora, backbone: Backbone) -> Iterator[None]:
    """The backbone's tokenizer and token embedding know the new words, one token for each layer."""
    table = backbone.text_encoder.get_input_embeddings()
    if table.weight.shape[1] != lora.text_width:
        widths = f"{lora.text_width} channels, the backbone's have {table.weight.shape[1]}"
        raise _other_base(lora, f"token embeddings of {widths}")
    original, known = backbone.tokenizer, copy.deepcopy(backbone.tokenizer)
    names = [_token(word, layer) for word in lora.embeddings for layer in range(lora.layers)]
    taken = [name for name in names if name in known.get_vocab()]
    if taken:
        raise InputError(f"{lora.path}: {taken[0]!r} is already a word of this model; attach each concept once")
    first = len(known)
    known.add_tokens([AddedToken(name, normalized=False) for name in names])
    vectors = torch.cat(list(lora.embeddings.values()))
    seen: list[Tensor] = []

    def known_ids(module: Any, args: tuple[Tensor]) -> tuple[Tensor]:
        seen.append(args[0])
        return (args[0].where(args[0] < first, 0),)

    def with_vectors(module: Any, args: Any, output: Tensor) -> Tensor:
        ids = seen.pop()
        rows = vectors.to(output)[(ids - first).clamp(0, len(vectors) - 1)]
        mine = (ids >= first) & (ids < first + len(vectors))
        return rows.where(mine.unsqueeze(-1), output)

    with ExitStack() as undo:
        undo.callback(table.register_forward_pre_hook(known_ids).remove)
        undo.callback(table.register_forward_hook(with_vectors).remove)
        backbone.tokenizer = known
        undo.callback(setattr, backbone, "tokenizer", original)
        yield


@contextmanager
def changed_weights(lora: EdLora, model: Any, changes: Mapping[str, LowRank], strength: float) -> Iterator[None]:
    """The layers' weights plus strength times their changes, as new parameters in place of the base's own.

    Raises:
        InputError: a layer that the model doesn't have, or has in another shape.
    """
    modules = {name: _layer(lora, model, name, change) for name, change in changes.items()}
    with ExitStack() as undo:
        for name, change in changes.items():
            module = modules[name]
            base = module.weight
            merged = base.float() + strength * change.delta().to(base.device)
            module.weight = torch.nn.Parameter(merged.to(base), requires_grad=False)
            undo.callback(_restore, module, base)
        yield


def _restore(module: Any, base: Any) -> None:
    base.data = base.data.to(module.weight.device)
    module.weight = base


def _layer(lora: EdLora, model: Any, name: str, change: LowRank) -> Any:
    """The module of that path. transformers 5 leaves out the "text_model" that earlier versions had in it."""
    for path in (name, name.removeprefix("text_model."), f"text_model.{name}"):
        try:
            module = model.get_submodule(path)
        except AttributeError:
            continue
        shape = (change.up.shape[0], *change.down.shape[1:])
        if tuple(module.weight.shape) != shape:
            raise _other_base(lora, f"{name} of {list(shape)}, the backbone has {list(module.weight.shape)}")
        return module
    raise _other_base(lora, f"it changes {name}, which the backbone doesn't have")
