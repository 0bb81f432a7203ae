"""The five networks of a layered neural atlas, as the recorded reference has them.

Source: Kasten et al., "Layered Neural Atlases for Consistent Video Editing" (SIGGRAPH Asia 2021, arXiv 2109.11418),
section 3: two mappings (x, y, t) -> (u, v), an opacity, and one atlas that both layers share; VideoSwap (arXiv
2312.02087) adds an inverse (u, v, t) -> (x, y, t) of the foreground's mapping. All coordinates are in -1..1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

INPUTS_AND_OUTPUTS = {
    "foreground_mapping": (3, 2),
    "foreground_inverse": (3, 3),
    "background_mapping": (3, 2),
    "atlas": (2, 3),
    "opacity": (3, 1),
}
"""By network, how many coordinates it takes and how many values it gives."""


@dataclass(frozen=True)
class NetworkSettings:
    """The shape of one network.

    Attributes:
        layers: linear layers, the last one included.
        width: of all but the last one.
        frequencies: of the positional encoding; 0: the coordinates as they are.
        skips: the layers (0 is the first) which are given the network's encoded input a second time.
    """

    layers: int
    width: int = 256
    frequencies: int = 0
    skips: tuple[int, ...] = ()


FULL_SIZE: Mapping[str, NetworkSettings] = {
    "foreground_mapping": NetworkSettings(6),
    "foreground_inverse": NetworkSettings(6),
    "background_mapping": NetworkSettings(4),
    "atlas": NetworkSettings(8, frequencies=10, skips=(4, 7)),
    "opacity": NetworkSettings(8, frequencies=5),
}
"""The depths of the recordings, at the paper's width."""


class CoordinateNetwork(nn.Module):
    """A multilayer perceptron with ReLU between layers and tanh at the end: [N, inputs] to [N, outputs] in -1..1."""

    def __init__(self, inputs: int, outputs: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        encoded = inputs * max(1, 2 * settings.frequencies)
        enters = [encoded] + [settings.width + encoded * (i in settings.skips) for i in range(1, settings.layers)]
        leaves = [settings.width] * (settings.layers - 1) + [outputs]
        self.hidden = nn.ModuleList(nn.Linear(*shape) for shape in zip(enters, leaves, strict=True))

    def forward(self, places: Tensor) -> Tensor:
        """Values [N, outputs] at places [N, inputs]."""
        encoded = positional_encoding(places, self.settings.frequencies)
        values: Tensor = self.hidden[0](encoded)
        for index, layer in enumerate(self.hidden):
            if index == 0:
                continue
            values = torch.relu(values)
            if index in self.settings.skips:
                # the reference lets no gradient through the second copy of the input
                values = torch.cat([values, encoded.detach()], 1)
            values = layer(values)
        return torch.tanh(values)


def positional_encoding(places: Tensor, frequencies: int) -> Tensor:
    """[N, D] to [N, 2 D frequencies]: for 2^0 pi, 2^1 pi, ..., the sines of all coordinates, then their cosines
    (Mildenhall et al., "NeRF", ECCV 2020, equation 4, without the coordinates themselves). 0 frequencies: `places`."""
    if not frequencies:
        return places
    scale = math.pi * 2.0 ** torch.arange(frequencies, device=places.device, dtype=places.dtype)
    angles = places[:, None] * scale[:, None]
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)


class ReferenceNetworks(nn.Module):
    """The five networks. Their initial weights are torch's own, drawn from its global generator."""

    def __init__(self, settings: Mapping[str, NetworkSettings] = FULL_SIZE) -> None:
        super().__init__()
        made = {name: CoordinateNetwork(*ends, settings[name]) for name, ends in INPUTS_AND_OUTPUTS.items()}
        self.foreground_mapping = made["foreground_mapping"]
        self.foreground_inverse = made["foreground_inverse"]
        self.background_mapping = made["background_mapping"]
        self.atlas = made["atlas"]
        self.opacity = made["opacity"]

    @property
    def settings(self) -> dict[str, NetworkSettings]:
        """The shape of each network, by its name."""
        networks = dict(self.named_children())
        return {name: network.settings for name, network in networks.items() if isinstance(network, CoordinateNetwork)}
