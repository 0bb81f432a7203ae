from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vswap_kernel.errors import StoreError
from vswap_kernel.store import Store, content_digest
from vswap_kernel.types import Video


def fill(store: Store, key: str, content: bytes = b"content", stage: str = "tracks") -> None:
    with store.exclusive(key), store.put(key, stage, {"options": {"a": 1}}) as folder:
        (folder / "data.bin").write_bytes(content)


def test_an_entry_is_there_only_when_its_block_ended_well(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError), store.exclusive("k"), store.put("k", "tracks", {}) as folder:
        (folder / "half").write_text("written")
        raise ZeroDivisionError
    assert not store.has("k")
    assert list((tmp_path / "tmp").iterdir()) == []
    fill(store, "k")
    assert store.has("k")
    assert (store.path("k") / "data.bin").read_bytes() == b"content"


def test_what_a_killed_process_left_is_swept_away_by_the_next_put(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for place in ("tmp", "objects"):  # killed while writing; killed between directory and manifest
        (tmp_path / place / "k").mkdir()
        (tmp_path / place / "k" / "stale.bin").write_bytes(b"old")
    assert not store.has("k")
    fill(store, "k")
    assert sorted(path.name for path in store.path("k").iterdir()) == ["data.bin", "manifest.json"]


def test_scratch_outlives_a_failure_and_goes_with_success(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError), store.exclusive("k") as scratch, store.put("k", "tracks", {}):
        (scratch / "checkpoint").write_text("step 50")
        raise ZeroDivisionError
    assert (scratch / "checkpoint").read_text() == "step 50"
    fill(store, "k")
    assert not scratch.exists()


def test_stored_files_are_read_only_and_damage_is_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, "k")
    data = store.path("k") / "data.bin"
    assert data.stat().st_mode & 0o222 == 0
    assert store.damaged("k") == []
    data.chmod(0o644)
    data.write_bytes(b"changed")
    assert store.damaged("k") == ["data.bin"]
    data.unlink()
    assert store.damaged("k") == ["data.bin"]
    assert [entry.key for entry in store.prune(only_damaged=True)] == ["k"]
    assert not store.has("k")


@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_an_entry_whose_manifest_is_damaged_is_listed_and_pruned(tmp_path: Path, content: str) -> None:
    store = Store(tmp_path)
    fill(store, "good")
    fill(store, "bad")
    manifest = store.path("bad") / "manifest.json"
    manifest.write_text(content)
    assert {entry.key: entry.stage for entry in store.entries()} == {"good": "tracks", "bad": "damaged"}
    assert [entry.key for entry in store.prune(only_damaged=True)] == ["bad"]
    assert store.has("good")


def test_a_frame_file_that_a_killed_run_sealed_can_be_written_again(tmp_path: Path) -> None:
    chunk = np.zeros((1, 2, 2, 3), np.uint8)
    path = tmp_path / "frames.safetensors"
    first = Video.stream([chunk], path, 10)
    (tmp_path / "entry").mkdir()
    first.save(tmp_path / "entry")
    path.chmod(0o444)
    Video.stream([chunk + 1], path, 10)
    assert (first.frames == 0).all(), "the stored frames are another file"


def test_pruning_removes_what_was_used_longest_ago(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for age, key in enumerate("abc"):
        fill(store, key, b"x" * 100)
        os.utime(store.path(key) / "manifest.json", (1e9 - age, 1e9 - age))
    assert [entry.key for entry in store.prune(keep_bytes=250)] == ["c"]
    assert [entry.key for entry in store.entries()] == ["a", "b"]
    assert store.prune(older_than=time.time()) == []
    assert len(store.prune()) == 2


def test_a_store_in_use_is_not_pruned(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, "k")
    with store.in_use(), pytest.raises(StoreError, match="a run is using this store"):
        Store(tmp_path).prune()
    assert store.has("k")


def _work(root: Path, log: Path) -> None:
    store = Store(root)
    with store.exclusive("k"):
        if not store.has("k"):
            with store.put("k", "tracks", {}) as folder, log.open("a") as file:
                file.write("computed\n")
                time.sleep(0.3)
                (folder / "data.bin").write_bytes(b"content")


def test_two_processes_do_the_same_work_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_work, args=(tmp_path / "store", tmp_path / "log")) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert (tmp_path / "log").read_text() == "computed\n"
    assert Store(tmp_path / "store").has("k")


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    script = f"""
import resource, signal
from pathlib import Path
from vswap_kernel.store import Store
from vswap_kernel.errors import StoreError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store(Path({str(tmp_path)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with store.exclusive("k"), store.put("k", "source", {{}}) as folder:
        (folder / "frames").write_bytes(bytes(100_000))
except StoreError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "file too large while storing 'source'" in said
    assert said.count("\n") == 1
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not Store(tmp_path).has("k")


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="the store can't be written"):
        Store(tmp_path / "file" / "store")


def test_the_digest_of_a_folder_sees_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = content_digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    second = content_digest(tmp_path)
    (tmp_path / "b").write_text("2")
    assert len({first, second, content_digest(tmp_path)}) == 3
