"""The tracker's network: it learns, goes on where training stopped, and its exported file answers alike."""

import json

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file

from vswap_kernel.encode import write_png
from vswap_toybox.tracking.clips import Batch
from vswap_toybox.tracking.commands import main
from vswap_toybox.tracking.correlation import RADIUS, Level
from vswap_toybox.tracking.data_toybox import toybox_clip
from vswap_toybox.tracking.figures import measure, overlay
from vswap_toybox.tracking.losses import tracking_loss
from vswap_toybox.tracking.model import TINY, ToyTrack
from vswap_toybox.tracking.task import whole_batch


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def batch():
    return whole_batch(toybox_clip(5, 8, 64), 64, 20)


def test_a_level_finds_the_cell_that_looks_like_the_template():
    grid = torch.nn.functional.normalize(torch.randn(2, 8, 10, 12), dim=1)
    level = Level.of(grid, 4)
    place = torch.tensor([[[20.0, 16.0]]])  # the cell in column 5, row 4
    template = level.template(torch.tensor([[1]]), place)
    frames = torch.tensor([[[0, 1]]])
    away = place[:, :, None].expand(1, 1, 2, 2) + torch.tensor([8.0, -4.0])  # two cells right, one up
    products = level.compare(template, frames, away).reshape(2, 2 * RADIUS + 1, 2 * RADIUS + 1, 9)
    own = products[1, :, :, 4]  # the template's middle, in the frame that it is from
    assert divmod(int(own.argmax()), 2 * RADIUS + 1) == (RADIUS + 1, RADIUS - 2)
    assert float(own.max()) == pytest.approx(1, abs=1e-5)
    assert products[0].max() < 0.999


def test_features_between_cells_are_bilinear_and_zero_outside():
    row, column = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
    level = Level.of(torch.stack([column, row])[None], 8)
    around = level.template(torch.tensor([[0]]), torch.tensor([[[20.0, 30.0]]]))[0, 0].reshape(3, 3, 2)
    assert torch.allclose(around[1, 1], torch.tensor([2.5, 3.75]))
    assert torch.allclose(around[0, 2], torch.tensor([3.5, 2.75]))
    assert not level.template(torch.tensor([[0]]), torch.tensor([[[-100.0, 30.0]]])).any()


def test_points_do_not_see_each_other(batch):
    model = ToyTrack(TINY).eval()
    torch.nn.init.normal_(model.refinement.after[1].weight, std=0.1)
    with torch.no_grad():
        together = model(batch.video, batch.queries)
        alone = model(batch.video, batch.queries[:, 3:5])
    for every, some in zip(together, alone, strict=True):
        assert torch.allclose(every[:, :, 3:5], some, atol=1e-3)


def test_it_learns_a_clip_by_heart_in_seconds(batch):
    model = ToyTrack(TINY)
    before = measure(model, [batch])
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for _ in range(90):
        loss = tracking_loss(model.predict(batch.video, batch.queries), batch)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    after = measure(model, [batch])
    assert after["error"] < 2.0 < before["error"] / 3
    assert after["oa"] > 0.9


def test_the_truth_costs_no_more_than_its_heat(batch):
    predicted = ToyTrack(TINY).predict(batch.video, batch.queries)
    sure = torch.where(batch.visible, 20.0, -20.0)
    right = predicted._replace(steps=[step._replace(xy=batch.xy, visible=sure) for step in predicted.steps])
    wrong = predicted._replace(steps=[step._replace(xy=batch.xy + 8, visible=-sure) for step in predicted.steps])
    of_right, of_wrong = (float(tracking_loss(each, batch).detach()) for each in (right, wrong))
    assert of_right < 1 < of_wrong - of_right


def test_figures_of_known_errors():
    class Shifted(torch.nn.Module):
        def forward(self, video, queries):
            xy = truth.xy.transpose(1, 2) + torch.tensor([3.0, 0.0])
            return xy, torch.ones(xy.shape[:3])

    frames, points = 4, 3
    xy = torch.rand(1, points, frames, 2) * 20 + 20
    visible = torch.ones(1, points, frames).bool()
    visible[0, 0, 2:] = False
    queries = torch.cat([torch.zeros(1, points, 1), xy[:, :, 0]], -1)
    truth = Batch(torch.zeros(1, frames, 3, 64, 64), queries, xy, visible)
    figures = measure(Shifted(), [truth])
    # 3 pixels of 64 are 12 of 256: within 16 only
    assert figures == pytest.approx({"error": 3.0, "delta_avg": 0.2, "oa": 7 / 9}, abs=1e-4)
    assert overlay(Shifted(), [truth]).shape == (64, 6 * 64, 3)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Pools of tiny clips, and the photographs that they were made of."""
    folder = tmp_path_factory.mktemp("work")
    for seed in range(2):
        coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 255
        photo = torch.nn.functional.interpolate(coarse, (64, 64), mode="bilinear")[0]
        (folder / "photos").mkdir(exist_ok=True)
        write_png(folder / "photos" / f"{seed}.png", photo.permute(1, 2, 0).to(torch.uint8).numpy())
    main(["data", "--tiny", "--work", str(folder), "--photos", str(folder / "photos")])
    return folder


def train(work, folder, *arguments):
    """Train in `folder` with the pools of `work`; the checkpoint's tensors as bytes."""
    folder.mkdir(exist_ok=True)
    if not (folder / "data").exists():
        (folder / "data").symlink_to(work / "data")
    main(["train", "--tiny", "--work", str(folder), *arguments])
    held = load_file(folder / "train" / "checkpoint.safetensors")
    return {name: value.numpy().tobytes() for name, value in held.items()}


def test_training_goes_on_with_the_same_weights_where_it_stopped(work, tmp_path, monkeypatch):
    monkeypatch.setattr("vswap_toybox.tracking.task.SHAPES", ((6, 48, 6),))
    monkeypatch.setattr("vswap_toybox.training.loop.Schedule.rate_at", lambda *_: 1e-3)
    at_once = train(work, tmp_path / "once", "--steps", "4")
    train(work, tmp_path / "twice", "--steps", "2")
    assert train(work, tmp_path / "twice", "--steps", "4") == at_once
    log = [json.loads(line) for line in (tmp_path / "twice" / "train" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == [2, 4]
    assert {"toybox_oa", "photos_delta_avg"} <= log[-1].keys()
    assert list((tmp_path / "twice" / "train" / "samples").glob("*.png"))
