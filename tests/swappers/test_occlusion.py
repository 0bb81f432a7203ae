"""What is taken for an occluder, by the evidence for one missing piece of the subject's silhouette."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from vswap_swappers.occlusion import Evidence, accepted

PIECE = np.zeros((80, 120), np.uint8)
PIECE[20:60, 50:65] = 1
RING = cv2.dilate(PIECE, np.ones((9, 9))) - PIECE > 0


def evidence() -> Evidence:
    """All that speaks for an occluder: it cuts a silhouette of 80 x 40 pixels in two, and looks unlike it."""
    silhouette = np.zeros(PIECE.shape, np.uint8)
    silhouette[20:60, 20:100] = 1
    depth = cv2.distanceTransform(silhouette, cv2.DIST_L2, 3)
    none, far = np.zeros(PIECE.shape, bool), np.full(PIECE.shape, 9.0, np.float32)
    return Evidence(~none, none, depth, far, none, float(np.sqrt(silhouette.sum())))


def test_a_piece_for_which_everything_speaks_is_accepted_whole() -> None:
    np.testing.assert_array_equal(accepted(PIECE, evidence()), PIECE > 0)


@pytest.mark.parametrize(
    "against",
    [
        {"between": np.zeros(PIECE.shape, bool)},
        {"beside": RING},
        {"unlike": np.ones(PIECE.shape, np.float32)},
        {"shown": (np.arange(120) == 55) & (np.arange(80) == 40)[:, None]},
        {"depth": (evidence().depth > 0).astype(np.float32)},
    ],
    ids=lambda against: next(iter(against)),
)
def test_one_thing_against_it_is_enough(against: dict[str, np.ndarray]) -> None:
    assert not accepted(PIECE, replace(evidence(), **against)).any()


def test_a_speck_is_no_occluder() -> None:
    speck = np.zeros_like(PIECE)
    speck[38:43, 55:60] = 1
    assert not accepted(speck, evidence()).any()
