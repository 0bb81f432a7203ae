"""Checks that several families share: the same answer again, and nothing changed by answering."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from vswap_kernel.testing.asking import Maker
from vswap_kernel.testing.case import Case
from vswap_kernel.testing.checks.checking import check, expect
from vswap_kernel.types import Artefact


@check("tracker", "masks", "canonical", "swapper", "metrics", once=True)
def check_repeats(make: Maker, case: Case, scratch: Path) -> None:
    """Inputs stay as they were; the bytes are the same again, also for inputs mapped from the store, read-only."""
    before: dict[str, Any] = {name: x for name, x in vars(case).items() if isinstance(x, Artefact)}
    for name, value in before.items():
        (scratch / name).mkdir()
        value.save(scratch / name)
    stored = {name: type(x).load(scratch / name) for name, x in before.items()}
    first, second = (make.answer(case, scratch).digest() for _ in range(2))
    changed = [name for name, x in before.items() if x.digest() != stored[name].digest()]
    expect(case, not changed, "inputs left as they were", f"changed: {', '.join(changed)}")
    mapped = make.answer(replace(case, **stored), scratch).digest()
    got = f"digests {first[:8]}, {second[:8]} from a second component, {mapped[:8]} from stored inputs"
    expect(case, first == second == mapped, "the same bytes each time", got)


@check("canonical", "swapper", once=True)
def check_prepared_folder(make: Maker, case: Case, scratch: Path) -> None:
    """The prepared folder is only read, and serves again from another place."""
    folder = make.prepare(case, scratch)
    before, first, after = _contents(folder), make.answer(case, scratch, folder).digest(), _contents(folder)
    expect(case, before == after, "the prepared folder only read", "changed files in it")
    second = make.answer(case, scratch, folder.rename(scratch / "moved")).digest()
    expect(case, first == second, "the same bytes from the prepared folder moved elsewhere", "other bytes")


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
