"""The motion that carries a cut-out."""

from __future__ import annotations

import numpy as np
import pytest

from vswap_kernel.types import PointTracks
from vswap_swappers.carry import estimate_motion, no_fold
from vswap_swappers.register import WarpOptions
from vswap_swappers.silhouette import Silhouette
from vswap_swappers.smoothing import bridge, smooth
from vswap_swappers.source_shape import fits_better_mirrored
from vswap_swappers.thin_plate import ThinPlate

FRAMES = 12
POINTS = np.array([[20, 30], [90, 25], [30, 80], [85, 90], [55, 50], [60, 20]], np.float64)
EXTENT = np.array([0, 0, 110, 110], np.float64)
EXACT = {"smoothing": 0, "stiffness": 0, "shape": 1}


def similarity(frame: int) -> tuple[np.ndarray, np.ndarray]:
    angle, scale = 0.05 * frame, 0.6 + 0.02 * frame
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]]), np.array([40 + 3 * frame, 30 + frame], np.float64)


def affine(frame: int) -> tuple[np.ndarray, np.ndarray]:
    matrix, shift = similarity(frame)
    return matrix @ np.array([[1.2, 0.15], [0.0, 0.85]]), shift


def tracks(points: np.ndarray, move=similarity, frames: int = FRAMES) -> PointTracks:
    xy = np.stack([points @ matrix.T + shift for matrix, shift in map(move, range(frames))]).astype(np.float32)
    names = tuple(f"p{i}" for i in range(len(points)))
    return PointTracks(names, xy, np.ones(xy.shape[:2], bool), np.ones(xy.shape[:2], np.float32), (400, 300))


def hidden(given: PointTracks, xy: np.ndarray, visible: np.ndarray) -> PointTracks:
    return PointTracks(given.names, xy.astype(np.float32), visible, given.confidence, given.size)


def estimate(given: PointTracks, points: np.ndarray = POINTS, targets: PointTracks | None = None, **options):
    own = np.linalg.det(np.cov(points.T)) if len(points) > 2 else 0.0
    whole = [frame for frame in range(len(given)) if own and given.visible[frame].all()]
    known = [(np.linalg.det(np.cov(given.xy[frame].T.astype(np.float64))) / own) ** 0.25 for frame in whole]
    sides = np.interp(np.arange(len(given)), whole, known) if whole else np.full(len(given), 0.5)
    silhouette = Silhouette(sides, given.xy.mean(1).astype(np.float64))
    return estimate_motion(points, EXTENT, given, targets or given, silhouette, WarpOptions(**options))


@pytest.mark.parametrize("model", ["similarity", "affine", "thin-plate"])
def test_a_similarity_is_recovered_exactly_by_every_model(model):
    motion = estimate(tracks(POINTS), model=model, **EXACT)
    probe = np.array([[0, 0], [100, 0], [50, 110]], np.float64)
    for frame in range(FRAMES):
        matrix, shift = similarity(frame)
        np.testing.assert_allclose(motion.forward(frame, probe), probe @ matrix.T + shift, atol=2e-3)


@pytest.mark.parametrize("model", ["affine", "thin-plate"])
def test_an_affine_map_is_recovered_exactly(model):
    motion = estimate(tracks(POINTS, affine), model=model, **EXACT)
    for frame in range(FRAMES):
        matrix, shift = affine(frame)
        np.testing.assert_allclose(motion.forward(frame, POINTS), POINTS @ matrix.T + shift, atol=0.02)


def test_smoothing_leaves_steady_motion_where_it_is():
    motion = estimate(tracks(POINTS), smoothing=2.0)
    for frame in (0, 5, FRAMES - 1):
        matrix, shift = similarity(frame)
        np.testing.assert_allclose(motion.forward(frame, POINTS), POINTS @ matrix.T + shift, atol=0.05)


def test_smoothing_takes_jitter_out():
    clean = tracks(POINTS, frames=40)
    noise = np.random.default_rng(0).normal(0, 1.0, clean.xy.shape)
    noisy = hidden(clean, clean.xy + noise, clean.visible)
    errors = []
    for sigma in (0.0, 2.0):
        motion = estimate(noisy, smoothing=sigma, model="similarity")
        placed = np.stack([motion.forward(frame, POINTS) for frame in range(40)])
        errors.append(np.abs(placed - clean.xy).mean())
    assert errors[1] < 0.75 * errors[0]


def test_one_point_carries_by_translation_at_the_given_scale():
    motion = estimate(tracks(POINTS[:1]), POINTS[:1], smoothing=0)
    for frame in (0, 7):
        matrix, shift = similarity(frame)
        at = POINTS[:1] @ matrix.T + shift
        np.testing.assert_allclose(
            motion.forward(frame, POINTS[:1] + np.array([10.0, 0.0])), at + np.array([5.0, 0.0]), atol=1e-4
        )


def test_two_points_carry_by_a_similarity():
    motion = estimate(tracks(POINTS[:2]), POINTS[:2], smoothing=0)
    for frame in (0, 7):
        matrix, shift = similarity(frame)
        np.testing.assert_allclose(motion.forward(frame, POINTS), POINTS @ matrix.T + shift, atol=2e-3)


@pytest.mark.parametrize("model", ["similarity", "affine", "thin-plate"])
def test_a_hidden_outlier_changes_nothing(model):
    clean = tracks(POINTS)
    visible = clean.visible.copy()
    visible[3:8, 2] = False
    wild = clean.xy.copy()
    wild[3:8, 2] += 200
    calm = estimate(hidden(clean, clean.xy, visible), model=model)
    stirred = estimate(hidden(clean, wild, visible), model=model)
    for frame in range(FRAMES):
        np.testing.assert_allclose(stirred.forward(frame, POINTS), calm.forward(frame, POINTS), atol=1e-6)


@pytest.mark.parametrize("model", ["similarity", "affine", "thin-plate"])
def test_a_visible_point_that_slid_off_the_subject_hardly_takes_it_along(model):
    clean = tracks(POINTS)
    slid = clean.xy.copy()
    slid[4:9, 2] += [60, -40]
    calm, pulled = estimate(clean, model=model), estimate(hidden(clean, slid, clean.visible), model=model)
    others = np.delete(POINTS, 2, axis=0)
    for frame in range(FRAMES):
        np.testing.assert_allclose(pulled.forward(frame, others), calm.forward(frame, others), atol=2.0)


def test_a_point_that_goes_into_hiding_does_not_make_a_subject_of_other_proportions_jump():
    longer = POINTS * [1.5, 0.8]
    given = tracks(longer, lambda frame: (np.eye(2), np.zeros(2)))
    visible = given.visible.copy()
    visible[6:, :2] = False
    motion = estimate(hidden(given, given.xy, visible), smoothing=0)
    np.testing.assert_allclose(motion.forward(6, POINTS), motion.forward(5, POINTS), atol=0.5)


def test_frames_without_visible_points_lie_between_their_neighbours():
    clean = tracks(POINTS, lambda frame: (np.eye(2), np.array([4.0 * frame, 0.0])))
    visible = clean.visible.copy()
    visible[5:7] = False
    xy = clean.xy.copy()
    xy[5:7] = 0
    motion = estimate(hidden(clean, xy, visible), smoothing=0)
    np.testing.assert_allclose(motion.forward(5, POINTS), POINTS + np.array([20.0, 0.0]), atol=0.01)


def test_a_thin_plate_without_stiffness_passes_through_its_points():
    bent = POINTS + np.array([[3, -2], [-2, 3], [2, 2], [-3, -2], [1, 4], [0, -3]])
    given = tracks(bent)
    motion = estimate(given, **EXACT)
    for frame in range(FRAMES):
        assert np.abs(motion.forward(frame, POINTS) - given.xy[frame]).max() < 0.1


def test_a_thin_plate_bends_nothing_far_from_its_points():
    plate = ThinPlate.at(POINTS, 0.0)
    asked = np.array([[3.0, -2], [-2, 3], [2, 2], [-3, -2], [1, 4], [0, -3]])
    bend = plate.solve @ asked
    np.testing.assert_allclose(plate.operator(POINTS) @ bend, asked, atol=1e-6)
    far = POINTS.mean(0) + 400 * np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [0.7, 0.7]])
    assert np.abs(plate.operator(far) @ bend).max() < 0.01


def test_a_drag_of_one_point_moves_it_and_leaves_the_others():
    given = tracks(POINTS)
    moved = given.xy.copy()
    moved[:, 4] += [6, 0]
    motion = estimate(given, targets=hidden(given, moved, given.visible), smoothing=0, stiffness=0.0)
    placed = motion.forward(3, POINTS) - given.xy[3]
    assert placed[4, 0] > 4
    assert np.abs(np.delete(placed, 4, axis=0)).max() < 1.5


def test_a_stiff_plate_follows_a_drag_less():
    given = tracks(POINTS)
    moved = given.xy.copy()
    moved[:, 4] += [6, 0]
    dragged = hidden(given, moved, given.visible)
    loose, stiff = (
        estimate(given, targets=dragged, smoothing=0, stiffness=stiffness).forward(3, POINTS[4:5])[0, 0]
        for stiffness in (0.0, 10.0)
    )
    assert stiff - given.xy[3, 4, 0] < 0.5 * (loose - given.xy[3, 4, 0])


def test_a_bend_that_is_too_steep_in_one_frame_is_taken_back_gradually():
    plate = ThinPlate.at(POINTS, 0.0)
    bend = plate.solve @ np.array([[3.0, -2], [-2, 3], [2, 2], [-3, -2], [1, 4], [0, -3]])
    size = np.where(np.arange(31) == 15, 8.0, 0.5)
    kept = no_fold(plate, size[:, None, None] * bend, EXTENT, 2.0)
    gain = (kept / (size[:, None, None] * bend))[:, 0, 0]
    assert gain[15] < 0.5
    np.testing.assert_allclose(gain[[0, 30]], 1.0, atol=0.01)
    assert np.abs(np.diff(gain)).max() < 0.3 * (1 - gain[15])


def test_even_a_torn_arrangement_does_not_fold_over():
    torn = POINTS.copy()
    torn[[0, 1]] = torn[[1, 0]]
    motion = estimate(tracks(torn), **EXACT)
    grid = np.stack(np.meshgrid(np.arange(0.0, 110, 4), np.arange(0.0, 110, 4)), -1)
    placed = motion.forward(4, grid.reshape(-1, 2)).reshape(grid.shape)
    across, down = np.diff(placed, axis=1)[:-1], np.diff(placed, axis=0)[:, :-1]
    area = across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]
    assert (area > 0).all()


def test_inverse_undoes_forward():
    bent = POINTS + np.array([[6, -5], [-5, 6], [4, 5], [-6, -4], [2, 8], [0, -6]])
    motion = estimate(tracks(bent), stiffness=0, shape=1)
    probe = np.array([[0, 0], [100, 5], [50, 108], [60, 60]], np.float64)
    np.testing.assert_allclose(motion.inverse(5, motion.forward(5, probe)), probe, atol=0.05)


def test_a_mirrored_subject_is_told_from_one_that_is_not():
    mirrored = POINTS * [-1, 1] + [110, 0]
    assert fits_better_mirrored(POINTS, mirrored, tracks(mirrored))
    assert not fits_better_mirrored(POINTS, mirrored, tracks(POINTS))
    assert not fits_better_mirrored(POINTS[:2], mirrored[:2], tracks(mirrored[:2]))


def test_gaps_are_bridged_by_straight_lines_and_held_at_the_ends():
    values = np.array([9.0, 1, 9, 9, 4, 9])
    known = np.array([False, True, False, False, True, False])
    np.testing.assert_allclose(bridge(values, known), [1, 1, 2, 3, 4, 4])


def test_smoothing_keeps_a_parabola():
    time = np.arange(20.0)
    np.testing.assert_allclose(smooth(0.3 * time**2 - time, np.ones(20), 1.5), 0.3 * time**2 - time, atol=1e-5)
