"""One iteration of the reference's training, its schedule, and its checkpoints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vswap_canonical import losses
from vswap_canonical.reference.losses import UV_SCALE, ReferenceClip, inverse_loss, reference_losses, total_loss
from vswap_canonical.reference.networks import ReferenceNetworks
from vswap_kernel.errors import InputError, StoreError

LEARNING_RATE = 1e-4


@dataclass(frozen=True)
class ReferenceSchedule:
    """How long what is done.

    The reference's own are `iterations` and `batch`. The other three are ours, in the spirit of the paper (which
    bootstraps the opacity and asks for global rigidity only at first, and starts from mappings near the identity): no
    recording tells them.

    Attributes:
        iterations: training steps.
        batch: pixels a step, drawn from all frames.
        pretraining: steps before, in which both mappings learn to be 0.8 times the identity.
        bootstrapping: the first steps in which the opacity learns from the masks.
        global_rigidity: the first steps in which rigidity over 100 pixels counts.
    """

    iterations: int = 50_000
    batch: int = 10_000
    pretraining: int = 1_000
    bootstrapping: int = 10_000
    global_rigidity: int = 5_000


class ReferenceTraining:
    """Networks in training: Adam for the layers, and another for the inverse, which learns from what they became."""

    def __init__(self, networks: ReferenceNetworks, clip: ReferenceClip) -> None:
        self.networks, self._clip = networks, clip
        inverse = [*networks.foreground_inverse.parameters()]
        layers = [
            p for name, part in networks.named_children() if name != "foreground_inverse" for p in part.parameters()
        ]
        self._optimisers = {
            "layers": torch.optim.Adam(layers, LEARNING_RATE),
            "inverse": torch.optim.Adam(inverse, LEARNING_RATE),
        }

    def step(self, samples: Tensor, *, bootstrapping: bool = True, global_rigidity: bool = True) -> dict[str, float]:
        """One iteration on int64 samples [3, N]; every loss before it, their "total", and "inverse" in between (0 where
        no sample is within the mask)."""
        found = reference_losses(self.networks, self._clip, samples)
        total = total_loss(found, bootstrapping=bootstrapping, global_rigidity=global_rigidity)
        self._descend("layers", total)
        inverse = inverse_loss(self.networks, self._clip, samples)
        if inverse is not None:
            self._descend("inverse", inverse)
        told = {**found, "total": total, "inverse": total.new_zeros(()) if inverse is None else inverse}
        names, values = zip(*told.items(), strict=True)
        return dict(zip(names, torch.stack([value.detach() for value in values]).tolist(), strict=True))

    def _descend(self, optimiser: str, loss: Tensor) -> None:
        self._optimisers[optimiser].zero_grad()
        loss.backward()
        self._optimisers[optimiser].step()

    def write(self, path: Path, fingerprint: str, iteration: int) -> None:
        """Replace the checkpoint, in one stroke: weights, and both optimisers' running means."""
        tensors = {f"networks/{name}": tensor for name, tensor in self.networks.state_dict().items()}
        for which, optimiser in self._optimisers.items():
            for index, kinds in optimiser.state_dict()["state"].items():
                tensors |= {f"{which}/{index}/{kind}": value for kind, value in kinds.items()}
        about = json.dumps({"fingerprint": fingerprint, "iteration": iteration})
        partial = path.with_name(f".{path.name}.partial")
        save_file(
            {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}, partial, {"training": about}
        )
        partial.replace(path)

    def resume(self, path: Path, fingerprint: str) -> int:
        """Go on from a checkpoint; the iterations done.

        Raises:
            InputError: it belongs to another training.
            StoreError: it is damaged.
        """
        try:
            with safe_open(path, "pt") as file:
                about = json.loads(file.metadata()["training"])
                found, iteration = str(about["fingerprint"]), int(about["iteration"])
                tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{path}: damaged checkpoint ({error}); delete it to fit from the start") from None
        if found != fingerprint:
            raise InputError(f"{path}: a checkpoint of another fit (other video, masks or options); delete it")
        self.networks.load_state_dict({name: tensors[f"networks/{name}"] for name in self.networks.state_dict()})
        for which, optimiser in self._optimisers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in tensors.items():
                if name.startswith(f"{which}/"):
                    _, index, kind = name.split("/")
                    state.setdefault(int(index), {})[kind] = tensor
            optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        return iteration


class IdentityPretraining:
    """Brings both mappings near `UV_SCALE` times the identity, with an Adam of its own."""

    def __init__(self, networks: ReferenceNetworks, clip: ReferenceClip) -> None:
        self._mappings, self._grid = (networks.foreground_mapping, networks.background_mapping), clip.grid
        parameters = [*nn.ModuleList(self._mappings).parameters()]
        self._optimiser = torch.optim.Adam(parameters, LEARNING_RATE)

    def step(self, samples: Tensor) -> float:
        """One iteration on int64 samples [3, N]; the mean distance before it, of both mappings together."""
        places = self._grid.places(*samples)
        apart = [losses.distance(mapping(places), places[:, :2] * UV_SCALE).mean() for mapping in self._mappings]
        loss = apart[0] + apart[1]
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        return loss.item()
