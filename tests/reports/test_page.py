"""The report: one page that needs nothing but itself."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from vswap_kernel.api import FinishedRun
from vswap_kernel.types import Masks, Measurement, PointTracks, SwapResult, Video
from vswap_reports.page import metric_sections, sheet_frames
from vswap_reports.register import vswap_write_report

FRAMES, HEIGHT, WIDTH = 10, 48, 64
HOSTILE = '<script>alert("x")</script>&"\''


class Tags(HTMLParser):
    """Collects the tags with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data.strip())

    def with_class(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for _, attributes in self.tags if attributes.get("class") == name]


def tracks_of(names: tuple[str, ...]) -> PointTracks:
    time = np.arange(FRAMES, dtype=np.float32)[:, None, None]
    xy = np.float32([[10, 12]]) + np.arange(len(names), dtype=np.float32)[None, :, None] * 6 + time * 0.5
    visible = np.ones(xy.shape[:2], bool)
    visible[-1, 0] = False
    return PointTracks(names, xy.astype(np.float32), visible, visible.astype(np.float32), (WIDTH, HEIGHT))


def make_run(folder, *, title="swan to duck", names=("beak", "tail"), curve=None, extra=None) -> FinishedRun:
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    source = np.stack([np.roll(picture, frame, axis=1) for frame in range(FRAMES)])
    masks = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    masks[:, 10:30, 8:40] = 255
    result = np.where(masks[..., None] > 0, 255 - source, source)
    swap = SwapResult(Video(result, 24.0), Masks(masks))
    tracks = tracks_of(names)
    measured = Measurement({"frobnication": 12.345, "lost": float("nan")}, {} if curve is None else {"curve": curve})
    artefacts = {"tracks": tracks, "targets": tracks, "masks": Masks(masks), "swap": swap, "metric:invented": measured}
    (folder / "config.yaml").write_text(f"title: x\nvideo: {{path: {folder}/clips/swan.mp4}}\nseed: 7\n")
    (folder / "environment.json").write_text(json.dumps({"python": "3.11", "packages": {"numpy": "2.0"}}))
    artefacts |= extra or {}
    return FinishedRun(folder, title, Video(source, 24.0), swap.video, artefacts, folder / "result.mp4")


def write(run: FinishedRun) -> str:
    path = vswap_write_report(run)
    assert path == run.folder / "report.html"
    return path.read_text("utf-8")


def test_the_page_refers_to_nothing_outside_itself(tmp_path):
    page = write(make_run(tmp_path / "run"))
    assert not re.search(r"(https?:|file:|ftp:)?//[a-z]", re.sub(r"base64,[A-Za-z0-9+/=]+", "", page))
    found = Tags(page)
    links = [a[name] for _, a in found.tags for name in ("src", "href", "poster", "srcset", "data") if name in a]
    assert len(links) == 1 + 2 + 2 * 8
    assert all(link.startswith(("data:image/jpeg;base64,", "data:video/mp4;base64,")) for link in links)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in found.tags}
    assert "url(" not in page
    assert "@import" not in page


def test_the_same_run_gives_the_same_bytes_in_any_folder(tmp_path):
    pages = [write(make_run(tmp_path / name / "run")) for name in ("here", "there")]
    assert pages[0] == pages[1]
    assert str(tmp_path) not in pages[0]
    assert "…/swan.mp4" in pages[0]


def test_hostile_titles_and_point_names_are_text_and_nothing_else(tmp_path):
    run = make_run(tmp_path / "run", title=HOSTILE, names=(HOSTILE, "tail"))
    page = write(run)
    found = Tags(page)
    assert "<script" not in page
    assert HOSTILE in found.text
    assert "script" not in {tag for tag, _ in found.tags}
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)


def test_every_metric_is_shown_with_its_numbers_and_a_dash_for_undefined_ones(tmp_path):
    extra = {"metric:second": Measurement({"other": 0.5})}
    text = Tags(write(make_run(tmp_path / "run", extra=extra))).text
    for shown in ("invented", "frobnication", "12.35", "second", "other", "0.5"):
        assert shown in text
    assert text[text.index("lost") + 1 :][:2].count("-") == 1


def test_a_curve_has_a_gap_where_it_is_undefined_and_a_dot_for_a_lonely_frame(tmp_path):
    nan = np.nan
    curve = np.array([1, 2, 3, nan, nan, 2, nan, 4, 5, nan], np.float32)
    found = Tags(write(make_run(tmp_path / "run", curve=curve)))
    lines = [attributes["d"] for attributes in found.with_class("curve")]
    assert [line.count("L") + 1 for line in lines] == [3, 2]
    assert len(found.with_class("dot")) == 1


def test_hidden_points_are_hollow_and_seen_ones_are_filled(tmp_path):
    found = Tags(write(make_run(tmp_path / "run")))
    hidden = found.with_class("hidden")
    assert len(hidden) == 2  # one point, on the last frame, in source and result
    assert all("stroke" in attributes and "fill" not in attributes for attributes in hidden)
    legend = 2
    assert len(found.with_class("seen")) == 2 * 2 + 2 * 8 * 2 - len(hidden) + legend


def test_the_video_shows_source_and_result_side_by_side_for_all_frames(tmp_path):
    import av

    found = Tags(write(make_run(tmp_path / "run")))
    (video,) = [attributes for tag, attributes in found.tags if tag == "video"]
    assert {"loop", "muted", "playsinline"} <= set(video)
    (tmp_path / "video.mp4").write_bytes(base64.b64decode(video["src"].removeprefix("data:video/mp4;base64,")))
    with av.open(str(tmp_path / "video.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert np.stack(frames).shape == (FRAMES, HEIGHT, 2 * WIDTH, 3)
    inside, outside = np.s_[15:25, 15:35], np.s_[36:46, 4:60]
    left, right = (frames[4][:, half].astype(int) for half in (slice(0, WIDTH), slice(WIDTH, None)))
    assert np.abs(left[inside] - right[inside]).mean() > 40
    assert np.abs(left[outside] - right[outside]).mean() < 12


@pytest.mark.parametrize("missing", [("masks",), ("tracks", "targets"), ("swap", "masks", "metric:invented")])
def test_a_run_without_some_stages_still_has_a_page(tmp_path, missing):
    run = make_run(tmp_path / "run")
    for name in missing:
        del run.artefacts[name]
    for file in ("config.yaml", "environment.json"):
        (run.folder / file).unlink()
    found = Tags(write(run))
    assert ("Metrics" in found.text) == ("metric:invented" not in missing)
    assert ("Points" in found.text) == ("tracks" not in missing)


def test_nothing_half_written_is_left_beside_the_page(tmp_path):
    run = make_run(tmp_path / "run")
    write(run)
    assert sorted(path.name for path in run.folder.iterdir()) == ["config.yaml", "environment.json", "report.html"]


def test_the_contact_sheet_spans_the_clip_with_at_most_eight_frames():
    assert sheet_frames(80) == [0, 11, 23, 34, 45, 56, 68, 79]
    assert sheet_frames(3) == [0, 1, 2]
    assert sheet_frames(1) == [0]


def test_metrics_keep_the_order_of_the_plan():
    artefacts = {"swap": None, "metric:b": Measurement({"x": 1.0}), "metric:a": Measurement({"y": 2.0})}
    assert [section.name for section in metric_sections(artefacts)] == ["b", "a"]
