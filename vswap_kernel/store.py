"""Results kept by the key of the stage that made them. A put is atomic: an entry is there whole, or not at all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vswap_kernel.errors import StoreError

_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up", errno.EFBIG: "file too large"}


def default_store() -> Path:
    """$VSWAP_STORE, else the user's cache folder."""
    named = os.environ.get("VSWAP_STORE")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(named) if named else cache / "vswap"


@dataclass(frozen=True)
class Entry:
    """One stored result."""

    key: str
    stage: str
    path: Path
    size: int
    used: float
    ingredients: Mapping[str, Any]


class Store:
    """A folder of results.

    objects/KEY holds an entry and its manifest.json; tmp/KEY is one being written; scratch/KEY belongs to the
    component at work and outlives a kill; locks/KEY makes a second process wait for the first instead of doing the same
    work. Locks are the operating system's (flock): a killed process holds none.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        try:
            for name in ("objects", "tmp", "scratch", "locks"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.root}: the store can't be written ({error.strerror}); choose another") from None

    def path(self, key: str) -> Path:
        """Where the entry of `key` is, if it is there."""
        return self.root / "objects" / key

    def has(self, key: str) -> bool:
        """Whether the entry is there, each file with the size that it had."""
        try:
            files = json.loads((self.path(key) / "manifest.json").read_text())["files"].items()
            return all((self.path(key) / name).stat().st_size == file["size"] for name, file in files)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While a run is on, nothing is pruned."""
        with self._locked("in-use", fcntl.LOCK_SH):
            yield

    @contextmanager
    def exclusive(self, key: str) -> Iterator[Path]:
        """Only this process works on `key`; gives the scratch folder for it."""
        with self._locked(key, fcntl.LOCK_EX):
            yield self.root / "scratch" / key

    @contextmanager
    def _locked(self, name: str, kind: int) -> Iterator[None]:
        with (self.root / "locks" / name).open("w") as file:
            fcntl.flock(file, kind)
            yield

    @contextmanager
    def put(self, key: str, stage: str, ingredients: Mapping[str, Any]) -> Iterator[Path]:
        """A folder to fill; it becomes the entry when the block ends well. Call it inside `exclusive`.

        Raises:
            StoreError: the disk is full.
        """
        folder = self.root / "tmp" / key
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir()
            (self.root / "scratch" / key).mkdir(exist_ok=True)
            yield folder
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            listed = {str(path.relative_to(folder)): _sealed(path) for path in files}
            manifest = {"key": key, "stage": stage, "ingredients": ingredients, "files": listed}
            (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True))
            _sync(folder / "manifest.json")
            _sync(folder)
            shutil.rmtree(self.path(key), ignore_errors=True)  # an entry without its manifest
            folder.rename(self.path(key))
            _sync(self.root / "objects")
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            if error.errno in _FULL:
                shutil.rmtree(self.root / "scratch" / key, ignore_errors=True)
                raise StoreError(
                    f"{self.root}: {_FULL[error.errno]} while storing {stage!r}; "
                    "free space (`vswap store prune --days 7`) or choose another with --store"
                ) from None
            raise
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(self.root / "scratch" / key, ignore_errors=True)

    def touch(self, key: str) -> None:
        """Note that the entry was used: what was used longest ago goes first when pruning."""
        os.utime(self.path(key) / "manifest.json")

    def entries(self) -> list[Entry]:
        """All entries, last used first; one whose manifest can't be read has the stage "damaged"."""
        found = []
        for path in self.root.glob("objects/*/manifest.json"):
            used, folder = path.stat().st_mtime, path.parent
            try:
                manifest = json.loads(path.read_text())
                size = sum(file["size"] for file in manifest["files"].values())
                found.append(Entry(folder.name, manifest["stage"], folder, size, used, manifest["ingredients"]))
            except (OSError, ValueError, KeyError, TypeError):
                found.append(Entry(folder.name, "damaged", folder, 0, used, {}))
        return sorted(found, key=lambda entry: (-entry.used, entry.key))

    def damaged(self, key: str) -> list[str]:
        """The files of an entry whose content isn't what was stored."""
        try:
            files = json.loads((self.path(key) / "manifest.json").read_text())["files"]
            return [name for name, file in files.items() if _digest(self.path(key) / name) != file["sha256"]]
        except (OSError, ValueError, KeyError, TypeError):
            return ["manifest.json"]

    def prune(self, older_than: float = 0.0, keep_bytes: int = 0, only_damaged: bool = False) -> list[Entry]:
        """Remove entries not used for `older_than` seconds, but for those used last that fit into `keep_bytes`; or only
        what is damaged. What killed runs left goes in any case.

        Raises:
            StoreError: a run is using the store.
        """
        with (self.root / "locks" / "in-use").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StoreError(f"{self.root}: a run is using this store; prune when it has ended") from None
            removed, kept = [], 0
            for entry in self.entries():
                stale = time.time() - entry.used >= older_than and kept + entry.size > keep_bytes
                if self.damaged(entry.key) if only_damaged else stale:
                    shutil.rmtree(entry.path)
                    removed.append(entry)
                else:
                    kept += entry.size
            for leftover in ("tmp", "scratch"):
                shutil.rmtree(self.root / leftover, ignore_errors=True)
                (self.root / leftover).mkdir()
        return removed


def _sealed(path: Path) -> dict[str, Any]:
    _sync(path)
    path.chmod(0o444)
    return {"size": path.stat().st_size, "sha256": _digest(path)}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str:
    if not path.is_file():
        return "missing"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_digest(path: Path) -> str:
    """SHA-256 of a file's content, or of a folder's names and contents."""
    if path.is_file():
        return _digest(path)
    state = hashlib.sha256()
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        state.update(f"{file.relative_to(path)}\0{_digest(file)}\n".encode())
    return state.hexdigest()
