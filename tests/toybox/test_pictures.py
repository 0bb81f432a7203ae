"""Pictures of a subject that the Toybox model has never seen, as `vswap concept train` takes them."""

from pathlib import Path

import numpy as np

from vswap_kernel.pictures import read_image
from vswap_toybox.pictures import write_pictures
from vswap_toybox.training import world


def test_pictures_have_masks_and_captions_that_leave_the_look_to_the_new_words(tmp_path: Path) -> None:
    write_pictures(tmp_path, 0, 5, 3)
    pictures = sorted((tmp_path / "pictures").glob("*.png"))
    assert len(pictures) == 5
    pink = np.array([0.95, 0.55, 0.7]) * 255
    for path in pictures:
        mask = read_image(tmp_path / "masks" / path.name)[..., 0] == 255
        assert 0.02 < mask.mean() < 0.7
        near = np.abs(read_image(path)[..., :3].astype(float) - pink).max(-1) < 45
        assert near[mask].mean() > 0.15
        assert near[~mask].mean() < 0.05
        words = path.with_suffix(".txt").read_text().split()
        assert words[:2] == ["a", "car"]
        assert not {world.CONCEPT.colour, world.CONCEPT.pattern} & set(words)


def test_others_are_cars_that_the_model_knows(tmp_path: Path) -> None:
    write_pictures(tmp_path, 0, 1, 8)
    captions = [path.read_text().strip() for path in sorted((tmp_path / "prior").glob("*.txt"))]
    assert len(captions) == 8
    assert set(captions) <= set(world.captions())
    assert all("car" in caption.split() for caption in captions)


def test_a_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for folder, seed in (("one", 3), ("same", 3), ("other", 4)):
        write_pictures(tmp_path / folder, seed, 2, 2)
    one, same, other = (
        [path.read_bytes() for path in sorted((tmp_path / folder).rglob("*.*"))] for folder in ("one", "same", "other")
    )
    assert one == same
    assert one != other
