from __future__ import annotations

import json
from pathlib import Path

import pytest

from vswap_kernel.errors import InputError
from vswap_kernel.points import read_points
from vswap_reference.annotation import read_annotation, write_annotation


def test_an_annotation_is_y_x_on_the_frame_that_its_name_tells(tmp_path: Path) -> None:
    path = tmp_path / "00002_target.json"
    path.write_text(json.dumps({"nose": [61, 48.5], "tail": [5, 8]}))
    points = read_annotation(path)
    assert points.frame == 2
    assert points.names == ("nose", "tail")
    assert points.xy.tolist() == [[48.5, 61], [8, 5]]
    write_annotation(tmp_path / "again.json", points)
    assert json.loads((tmp_path / "again.json").read_text()) == {"nose": [61, 48], "tail": [5, 8]}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("00001.json", "nonsense", "JSON expected"),
        ("00001.json", "[]", r"expected an object of name: \[y, x\]"),
        ("00001.json", '{"nose": [1, 2, 3]}', r"expected an object of name: \[y, x\]"),
        ("00001.json", '{"nose": [1, 2], "nose": [3, 4]}', "'nose' stands there more than once"),
        ("frame.json", '{"nose": [1, 2]}', "give it with --frame"),
    ],
)
def test_other_files_are_told(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_annotation(tmp_path / name)


def test_the_commands_convert_both_ways(tmp_path: Path) -> None:
    from vswap_kernel import cli

    (tmp_path / "00003.json").write_text(json.dumps({"nose": [61, 48]}))
    for command in (
        ["points", "from-annotation", "00003.json", "points.json"],
        ["points", "to-annotation", "points.json", "back.json"],
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(tmp_path / word) if word.endswith(".json") else word for word in command])
        assert ended.value.code == 0
    points = read_points(tmp_path / "points.json")
    assert (points.frame, points.xy.tolist()) == (3, [[48, 61]])
    assert json.loads((tmp_path / "back.json").read_text()) == {"nose": [61, 48]}
