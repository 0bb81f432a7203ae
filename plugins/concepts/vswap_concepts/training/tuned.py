"""A backbone while it learns a concept: the forward pass of a training, and what is learned in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vswap_concepts.ed_lora_file import EdLora
from vswap_concepts.training.draws import Draws
from vswap_concepts.training.low_rank import TEXT_LAYERS, UNET_LAYERS, changes, low_rank, trained
from vswap_concepts.training.settings import Subject
from vswap_concepts.training.words import first_vectors, live_words, tokens
from vswap_kernel.protocols import Backbone

_TEXT_PREFIX = "text_model."


@dataclass(frozen=True, eq=False)
class Tuned:
    """The live model.

    Attributes:
        backbone: with peft's layers in it.
        subject: whose words are learned.
        vectors: float32 [words, layers, C], their token embeddings.
        text_layers, unet_layers: peft's layers by path.
        ids: token ids by caption, see `words.tokens`.
        device: where all of it is.
    """

    backbone: Backbone
    subject: Subject
    vectors: nn.Parameter
    text_layers: Mapping[str, Any]
    unet_layers: Mapping[str, Any]
    ids: Mapping[str, Tensor]
    device: torch.device

    def groups(self) -> dict[str, dict[str, nn.Parameter]]:
        """All that is learned, by name, as "words", "text" and "unet"."""
        return {
            "words": {"vectors": self.vectors},
            "text": trained(self.text_layers),
            "unet": trained(self.unet_layers),
        }

    def embed(self, captions: Sequence[str]) -> Tensor:
        """Text embeddings [layers, B, 77, C] of B known captions, each text encoded once; gradients flow."""
        different = list(dict.fromkeys(captions))
        rows = torch.cat([self.ids[caption] for caption in different]).to(self.device)
        encoded = self.backbone.text_encoder(rows)[0]
        parts = encoded.split([len(self.ids[caption]) for caption in different])
        layers = len(self.backbone.layers)
        by_layer = {caption: part.expand(layers, -1, -1) for caption, part in zip(different, parts, strict=True)}
        return torch.stack([by_layer[caption] for caption in captions], 1)

    def predict(self, latents: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        """Predicted noise float32 [B, 4, h, w] for latents of that shape at timesteps [B], text [layers, B, 77, C].

        `Backbone.predict` lets gradients flow too, but has one timestep for the whole batch. The U-Net itself takes a
        text per layer as one long sequence, of which each layer's hook cuts its own part.
        """
        unet = self.backbone.unet
        dtype = unet.conv_in.weight.dtype
        sequence = torch.cat(list(text), 1).to(dtype)
        predicted: Tensor = unet(latents.to(dtype), timesteps, encoder_hidden_states=sequence, return_dict=False)[0]
        return predicted.float()

    def learned(self, path: Path) -> EdLora:
        """A copy of what is learned so far, for `write_ed_lora`."""
        vectors = self.vectors.detach().float().cpu().clone()
        words = dict(zip(self.subject.words, vectors, strict=True))
        return EdLora(path, words, changes(self.text_layers, _TEXT_PREFIX), changes(self.unet_layers))


@contextmanager
def tuned(
    backbone: Backbone,
    subject: Subject,
    captions: Sequence[str],
    *,
    rank: int,
    seed: int,
    device: torch.device,
    gradient_checkpointing: bool = False,
) -> Iterator[Tuned]:
    """Make the backbone ready to learn a subject from pictures with these captions; afterwards it is as it was.

    Raises:
        InputError: the model can't read the class word, has such a word already, or a caption is too long.
    """
    draws, first = Draws(seed), len(backbone.tokenizer)
    vectors = nn.Parameter(first_vectors(subject, backbone, draws).to(device))
    ids = tokens(captions, subject, vectors.detach().cpu(), backbone)
    for model in (backbone.text_encoder, backbone.unet):
        model.to(device)  # with the backbone's option `offload` they may be elsewhere
    with ExitStack() as undo:
        text_layers, unet_layers = (
            undo.enter_context(low_rank(model, targets, rank, draws.generator(f"low rank, {purpose}")))
            for purpose, model, targets in (
                ("text", backbone.text_encoder, TEXT_LAYERS),
                ("unet", backbone.unet, UNET_LAYERS),
            )
        )
        undo.enter_context(live_words(backbone.text_encoder.get_input_embeddings(), first, vectors))
        if gradient_checkpointing and not backbone.unet.is_gradient_checkpointing:
            backbone.unet.enable_gradient_checkpointing()
            undo.callback(backbone.unet.disable_gradient_checkpointing)
        yield Tuned(backbone, subject, vectors, text_layers, unet_layers, ids, device)
