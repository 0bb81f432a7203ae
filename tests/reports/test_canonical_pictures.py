"""What a canonical leaves to be shown."""

import json
from base64 import b64decode

import numpy as np
import pytest

from vswap_kernel.encode import encode_png, write_png
from vswap_kernel.pictures import encode_jpeg, read_image
from vswap_reports.canonical_pictures import canonical_pictures

from .test_page import HOSTILE, Tags, make_run, write

PICTURE = np.full((20, 30, 3), 90, np.uint8)


def pictures(folder, listed, **files):
    folder.mkdir()
    for name, data in files.items():
        (folder / name.replace("_", ".")).write_bytes(data)
    (folder / "pictures.json").write_text(listed if isinstance(listed, str) else json.dumps(listed))
    return canonical_pictures(folder)


def test_pictures_of_the_canonical_are_shown_in_their_order_with_their_captions(tmp_path):
    fitted, files = tmp_path / "fitted", {"b_png": encode_png(PICTURE), "a_JPG": encode_jpeg(PICTURE)}
    pictures(fitted, {"b.png": "the atlas", "a.JPG": HOSTILE}, **files)
    page = write(make_run(tmp_path / "run", extra={"canonical": fitted}))
    section = page[page.index("<h2>Canonical space</h2>") : page.index("<h2>Frames</h2>")]
    shown = [attributes for tag, attributes in Tags(section).tags if tag == "img"]
    assert [picture["alt"] for picture in shown] == ["the atlas", HOSTILE]
    assert all(picture["src"].startswith("data:image/jpeg;base64,") for picture in shown)
    assert HOSTILE in Tags(section).text
    assert "<script" not in section


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone.png", "gone.png: no such file"),
        ("broken.png", "broken.png: can't be read as a picture"),
        ("empty.jpg", "empty.jpg: can't be read as a picture"),
        ("folder.png", "folder.png: no such file"),
        ("notes.txt", "notes.txt: not the name of a picture (.png, .jpg, .jpeg) in the fitted folder"),
        ("../secret.png", "../secret.png: not the name of a picture (.png, .jpg, .jpeg) in the fitted folder"),
        ("link.png", "link.png: leads out of the fitted folder"),
        ("nul\0.png", "nul\0.png: no such file"),
    ],
)
def test_a_picture_that_cannot_be_shown_is_one_line_and_the_others_are_shown(tmp_path, name, reason):
    write_png(tmp_path / "secret.png", PICTURE)
    fitted, good = tmp_path / "fitted", encode_png(PICTURE)
    listed = {name: "x", "good.png": "y"}
    pictures(fitted, listed, broken_png=good[: len(good) // 2], empty_jpg=b"", notes_txt=b"x", good_png=good)
    (fitted / "folder.png").mkdir()
    (fitted / "link.png").symlink_to(tmp_path / "secret.png")
    bad, shown = canonical_pictures(fitted)
    assert (bad.uri, bad.caption) == ("", reason)
    assert (shown.uri[:23], shown.caption) == ("data:image/jpeg;base64,", "y")


@pytest.mark.parametrize(
    ("listed", "reason"),
    [
        ("{", "pictures.json: not readable JSON"),
        ("[" * 100_000, "pictures.json: not readable JSON"),
        ("[1]", "pictures.json: expected an object of file name: caption"),
        ('{"a.png": 1}', "pictures.json: expected an object of file name: caption"),
    ],
)
def test_a_list_that_cannot_be_read_is_one_line(tmp_path, listed, reason):
    (only,) = pictures(tmp_path / "fitted", listed)
    assert (only.uri, only.caption) == ("", reason)


def test_half_characters_in_captions_do_not_end_the_report(tmp_path):
    pictures(tmp_path / "fitted", '{"a.png": "\\ud800", "\\udfff.png": "x"}', a_png=encode_png(PICTURE))
    page = write(make_run(tmp_path / "run", extra={"canonical": tmp_path / "fitted"}))
    assert "?.png: no such file" in page


def test_what_is_transparent_shows_a_checkerboard_and_large_pictures_shrink(tmp_path):
    clear = np.zeros((600, 2000, 4), np.uint8)
    (picture,) = pictures(tmp_path / "fitted", {"a.png": "x"}, a_png=encode_png(clear))
    (tmp_path / "shown.jpg").write_bytes(b64decode(picture.uri.split(",")[1]))
    shown = read_image(tmp_path / "shown.jpg")[..., :3]
    assert shown.shape == (288, 960, 3)
    assert 200 < shown.min() < 220
    assert 228 < shown.max() < 245


def test_a_canonical_without_pictures_has_no_section(tmp_path):
    (tmp_path / "fitted").mkdir()
    assert canonical_pictures(tmp_path / "fitted") == []
    assert canonical_pictures(None) == []


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 3000, 3), (3000, 1, 3), (961, 961, 3)])
def test_pictures_of_any_shape_are_shown(tmp_path, shape):
    (picture,) = pictures(tmp_path / "fitted", {"a.png": "x"}, a_png=encode_png(np.zeros(shape, np.uint8)))
    assert picture.uri
