"""How the reference evaluates the losses of a layered neural atlas: finite differences of whole pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vswap_canonical import losses
from vswap_canonical.flow_pairs import FlowPairs
from vswap_canonical.reference.networks import ReferenceNetworks
from vswap_canonical.reference.render import ReferenceGrid, Rendered, opacity_at, render
from vswap_kernel.types import ByteArray, FloatArray

WEIGHTS = {
    "colour": 5000.0,
    "gradient": 1000.0,
    "bootstrap": 2000.0,
    "sparsity": 1000.0,
    "rigidity_foreground": 1.0,
    "rigidity_background": 1.0,
    "global_rigidity_foreground": 5.0,
    "global_rigidity_background": 50.0,
    "flow_foreground": 5.0,
    "flow_background": 5.0,
    "flow_opacity": 49.0,
}
UV_SCALE = 0.8
"""A mapping starts as 0.8 times the identity, so that the video fits into the atlas; lengths in it are over 0.8."""
_NEAR, _FAR = 1, 100  # px over which rigidity is measured

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class ReferenceClip:
    """What is learned from: frames uint8 [F, H, W, 3], masks float [F, H, W] in 0..1, and between neighbours the flow
    ahead and back float [F - 1, H, W, 2] px and where each holds, bool [F - 1, H, W] (in frame t + 1 for back)."""

    frames: Tensor
    masks: Tensor
    ahead: Tensor
    back: Tensor
    ahead_holds: Tensor
    back_holds: Tensor

    @classmethod
    def of(cls, frames: ByteArray, masks: FloatArray, flow: FlowPairs, device: str = "cpu") -> ReferenceClip:
        """From arrays; `flow` has gap 1."""
        arrays = (frames, masks, flow.ahead, flow.back, flow.ahead_holds, flow.back_holds)
        return cls(*(torch.from_numpy(np.array(array)).to(device) for array in arrays))

    @property
    def grid(self) -> ReferenceGrid:
        """How its pixels become coordinates."""
        frames, height, width, _ = self.frames.shape
        return ReferenceGrid((width, height), frames)

    def colours(self, x: Tensor, y: Tensor, frame: Tensor) -> Tensor:
        """Colours [N, 3] in 0..1; beyond the last column or row, those of the last."""
        _, height, width, _ = self.frames.shape
        return self.frames[frame, y.clamp(max=height - 1), x.clamp(max=width - 1)].float() / 255


def reference_losses(networks: ReferenceNetworks, clip: ReferenceClip, samples: Tensor) -> dict[str, Tensor]:
    """The mean of every loss in `WEIGHTS` over one batch, unweighted.

    Args:
        networks: on the clip's device.
        clip: the video.
        samples: int64 [3, N], pixels x, y and their frame.
    """
    drawn = render(networks, clip.grid.places(*samples))
    found = _image_losses(networks, clip, samples, drawn)
    layers = {
        "foreground": (networks.foreground_mapping, drawn.foreground_uv, drawn.opacity[:, 0]),
        "background": (networks.background_mapping, drawn.background_uv, 1 - drawn.opacity[:, 0]),
    }
    for layer, (mapping, uv, share) in layers.items():
        for prefix, reach in (("", _NEAR), ("global_", _FAR)):
            jacobian = backward_jacobian(mapping, clip.grid, samples, uv, reach) / UV_SCALE
            found[f"{prefix}rigidity_{layer}"] = losses.rigidity(jacobian).mean()
        found[f"flow_{layer}"] = _flow_loss(mapping, clip, samples, uv, share)
    found["flow_opacity"] = _opacity_loss(networks, clip, samples, drawn.opacity)
    return found


def total_loss(found: dict[str, Tensor], *, bootstrapping: bool = True, global_rigidity: bool = True) -> Tensor:
    """The weighted sum, with or without what the reference only asks for at first."""
    left_out = {"bootstrap": not bootstrapping}
    left_out |= dict.fromkeys(("global_rigidity_foreground", "global_rigidity_background"), not global_rigidity)
    parts = [WEIGHTS[name] * value for name, value in found.items() if not left_out.get(name)]
    return torch.stack(parts).sum()


def inverse_loss(networks: ReferenceNetworks, clip: ReferenceClip, samples: Tensor) -> Tensor | None:
    """How far, on average, the inverse ends from the samples within the mask; the mapping isn't trained by it. None
    where no sample is within the mask."""
    x, y, frame = samples
    places = clip.grid.places(*samples)[clip.masks[frame, y, x] > 0.5]
    if not len(places):
        return None
    with torch.no_grad():
        uv = networks.foreground_mapping(places)
    returned = networks.foreground_inverse(torch.cat([uv, places[:, 2:]], 1))
    return losses.distance(returned, places).mean()


def backward_jacobian(mapping: Network, grid: ReferenceGrid, samples: Tensor, uv: Tensor, reach: int) -> Tensor:
    """Jacobians [N, 2, 2], d(u, v) by d(x, y), from the pixels `reach` to the left of the samples and above them; `uv`
    [N, 2] is the mapping's value at the samples themselves."""
    x, y, frame = samples
    left, above = mapping(grid.places(x - reach, y, frame)), mapping(grid.places(x, y - reach, frame))
    return torch.stack([uv - left, uv - above], 2) * (grid.half / reach)


def _image_losses(
    networks: ReferenceNetworks, clip: ReferenceClip, samples: Tensor, drawn: Rendered
) -> dict[str, Tensor]:
    x, y, frame = samples
    seen = clip.colours(x, y, frame)
    changes = []
    for right, below in ((1, 0), (0, 1)):
        there = render(networks, clip.grid.places(x + right, y + below, frame)).colour
        changes.append(losses.colour_error(there - drawn.colour, clip.colours(x + right, y + below, frame) - seen))
    return {
        "colour": losses.colour_error(drawn.colour, seen).mean(),
        "gradient": (changes[0] + changes[1]).mean(),
        "bootstrap": losses.bootstrap(drawn.opacity[:, 0], clip.masks[frame, y, x]).mean(),
        "sparsity": losses.sparsity(drawn.foreground, drawn.opacity).mean(),
    }


def _matches(clip: ReferenceClip, samples: Tensor) -> list[tuple[Tensor, Tensor]]:
    """For the flow ahead and back: which samples have a flow that holds, int [M], and to which places [M, 3] it leads
    them."""
    x, y, frame = samples
    pairs, found = len(clip.ahead), []
    for step, flow, holds in ((1, clip.ahead, clip.ahead_holds), (-1, clip.back, clip.back_holds)):
        pair = frame if step == 1 else frame - 1
        there = (pair >= 0) & (pair < pairs)
        chosen = (there & holds[pair.clamp(0, pairs - 1), y, x]).nonzero()[:, 0]
        moved = flow[pair[chosen], y[chosen], x[chosen]]
        found.append((chosen, clip.grid.places(x[chosen] + moved[:, 0], y[chosen] + moved[:, 1], frame[chosen] + step)))
    return found


def _flow_loss(mapping: Network, clip: ReferenceClip, samples: Tensor, uv: Tensor, share: Tensor) -> Tensor:
    """Distance in the atlas, in pixels, between a sample and where the flow leads it, weighted with the layer's share
    [N] of the colour; the mean of both directions."""
    scale, means = clip.grid.half / UV_SCALE, []
    for chosen, places in _matches(clip, samples):
        apart = losses.distance(mapping(places), uv[chosen]) * scale * share[chosen]
        means.append(_mean(apart))
    return 0.5 * (means[0] + means[1])


def _opacity_loss(networks: ReferenceNetworks, clip: ReferenceClip, samples: Tensor, opacity: Tensor) -> Tensor:
    changes = [
        _mean(losses.opacity_change(opacity_at(networks, places)[:, 0], opacity[chosen, 0]))
        for chosen, places in _matches(clip, samples)
    ]
    return 0.5 * (changes[0] + changes[1])


def _mean(values: Tensor) -> Tensor:
    """The mean, 0 of nothing."""
    return values.sum() / max(len(values), 1)
