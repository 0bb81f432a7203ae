"""dift_io, by upsampling whole maps and indexing pixels, frame by frame and point by point.

Independent of our code: all but the VAE, the text encoder and the tokenizer, which are the libraries'.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, interpolate

from .scene import tracks_of
from .session import SCALE, Session

SECOND_LEVEL, SECOND_TIMESTEP = 0, 100


class Maps:
    """Feature maps of frames under fixed noise."""

    def __init__(self, session: Session, frames: Any, vae_noise: Tensor, diffusion_noise: Tensor, text: Tensor) -> None:
        self.session, self.text = session, text
        self.mean, self.deviation = session.posterior(frames)
        self.vae_noise, self.diffusion_noise = vae_noise, diffusion_noise

    @torch.no_grad()
    def of(self, frame: int, members: int, level: int, timestep: int) -> Tensor:
        """[1, C, h, w], the mean over the ensemble, one pass for each member."""
        alpha, maps = self.session.alphas[timestep], []
        for member in range(members):
            latents = (self.mean[frame] + self.deviation[frame] * self.vae_noise[member]) * SCALE
            noised = alpha**0.5 * latents + (1 - alpha) ** 0.5 * self.diffusion_noise[member]
            net = self.session.net(motion=False)
            net(noised[None], timestep, self.text, 1)
            maps.append(net.up_outputs[level])
        return torch.stack(maps).mean(0)


def pixel(enlarged: Tensor, xy: Tensor) -> Tensor:
    """The feature at a point, rounded to whole pixels, of a map of the frame's size; negative ones wrap around."""
    x, y = (round(value) for value in xy.tolist())
    return enlarged[0, :, y, x]


def record_dift(session: Session) -> None:
    """Writes dift_io."""
    config, members, random = session.config, session.variant.ensemble, session.random(30)
    frames, prompt = session.frames(), f"photo of a {config['category']}"
    noise = {name: random.normal(members, 4, *session.cells) for name in ("vae_noise", "diffusion_noise")}
    maps = Maps(session, frames, noise["vae_noise"], noise["diffusion_noise"], session.embed(prompt))
    keyframe, last, level, timestep = config["keyframe"], config["F"] - 1, 1, config["t_dift"]
    single = {frame: maps.of(frame, 1, level, timestep) for frame in sorted({keyframe, 0, last})}
    tensors = noise | {"frames_u8": torch.from_numpy(frames)}
    tensors |= {f"feat_ens1_frame{frame}": value for frame, value in single.items()}
    tensors["feat_ens1_up0_frame0"] = maps.of(0, 1, SECOND_LEVEL, SECOND_TIMESTEP)
    mean = [
        interpolate(maps.of(frame, members, level, timestep), session.size, mode="bilinear")
        for frame in range(config["F"])
    ]
    tensors[f"feat_ens{members}_frame{keyframe}"] = maps.of(keyframe, members, level, timestep)
    queries = _queries(session, single, tensors)
    tracks = session.tap["pred_tracks"]
    found = confidences(mean, tracks, keyframe, session.size)
    threshold = _threshold(list(found.values()))
    tensors |= extracted(mean, tracks, found, threshold)
    tensors |= _of_joints(session, mean)
    notes = {"prompt": prompt, "t": timestep, "up_ft_index": level, "keyframe": keyframe, "threshold": threshold}
    session.write("dift_io", tensors, notes | {"points": config["points"], "queries": queries, "human": "ok"})


def _queries(session: Session, single: dict[int, Tensor], tensors: dict[str, Tensor]) -> list[dict[str, Any]]:
    height, width = session.size
    spots = [
        ((10.4, 20.5), (11.5, 22.5)),
        ((width - 1, height - 1), (0, 0)),
        ((width / 2 + 0.3, 33.5), (7, height - 1)),
    ]
    queries: list[dict[str, Any]] = []
    for frame in single:
        for source, target in spots:
            enlarged = [
                interpolate(single[number], session.size, mode="bilinear")
                for number in (session.config["keyframe"], frame)
            ]
            old, new = pixel(enlarged[0], torch.tensor(source)), pixel(enlarged[1], torch.tensor(target))
            tensors[f"query{len(queries)}_vec"] = new
            places = {"source_frame": session.config["keyframe"], "target_frame": frame}
            places |= {"source_xy": list(source), "target_xy": list(target)}
            queries.append(places | {"cosine": float(cosine_similarity(old, new, dim=0))})
    return queries


def confidences(
    mean: list[Tensor], tracks: Tensor, keyframe: int, size: tuple[int, int]
) -> dict[tuple[int, int], float]:
    """By frame and point, the cosine to the keyframe; not where a point lies beyond the right or lower edge."""
    found = {}
    for frame in range(len(tracks)):
        for point in range(tracks.shape[1]):
            x, y = (round(value) for value in tracks[frame, point].tolist())
            if x < size[1] and y < size[0]:
                old, new = pixel(mean[keyframe], tracks[keyframe, point]), pixel(mean[frame], tracks[frame, point])
                found[frame, point] = float(cosine_similarity(old, new, dim=0))
    return found


def _threshold(found: list[float]) -> float:
    """In the widest gap among the lower half."""
    low = sorted(found)[len(found) // 8 : len(found) // 2]
    gap, middle = max((b - a, (a + b) / 2) for a, b in pairwise(low))
    assert gap > 2e-4, "no threshold that rounding won't cross"
    return round(middle, 6)


def extracted(
    mean: list[Tensor], tracks: Tensor, found: dict[tuple[int, int], float], threshold: float
) -> dict[str, Tensor]:
    after, embedding = torch.full_like(tracks, -1), []
    for point in range(tracks.shape[1]):
        kept = [frame for frame in range(len(tracks)) if found.get((frame, point), -2) >= threshold]
        for frame in kept:
            after[frame, point] = tracks[frame, point]
        embedding.append(torch.stack([pixel(mean[frame], tracks[frame, point]) for frame in kept]).mean(0))
    return {
        "extract_tracks_in": tracks,
        "extract_tracks_out": after,
        "extract_embedding": torch.stack(embedding),
    }


def _of_joints(session: Session, mean: list[Tensor]) -> dict[str, Tensor]:
    """Tracks within the frame, some points invisible at times; means over the visible frames."""
    (height, width), points, random = session.size, len(session.config["points"]), session.random(31)
    tracks = tracks_of(height, width, len(mean), points, session.config["keyframe"], random)
    tracks = tracks.clamp(max=torch.tensor([width - 1.0, height - 1.0]))
    embedding = []
    for point in range(points):
        seen = [frame for frame in range(len(mean)) if bool((tracks[frame, point] >= 0).all())]
        embedding.append(torch.stack([pixel(mean[frame], tracks[frame, point]) for frame in seen]).mean(0))
    return {"extract_human_tracks_in": tracks, "extract_human_embedding": torch.stack(embedding)}
