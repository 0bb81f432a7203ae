"""Peak memory of a whole run, for clips of different lengths: `python benchmarks/memory_of_a_run.py 80 800`.

A real clip is played forwards and backwards until it is long enough; links to its frames and masks stand for copies.
Prints one line a length: frames, peak resident memory of the process in MiB, seconds, seconds a frame.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[1]
EXAMPLE = REPOSITORY / "examples" / "car-turn-rc"


def longer(folder: Path, frames: int) -> Path:
    """A job like the example's, of so many frames."""
    config = yaml.safe_load((EXAMPLE / "car-turn-rc.yaml").read_text())
    for field, name in ((config["video"], "frames"), (config["masks"], "masks")):
        originals = sorted((EXAMPLE / field["path"]).resolve().iterdir())
        there_and_back = originals + originals[-2:0:-1]
        (folder / name).mkdir()
        for index in range(frames):
            original = there_and_back[index % len(there_and_back)]
            (folder / name / f"{index:05d}{original.suffix}").symlink_to(original)
        field["path"] = name
    concept = config["concept"]
    concept |= {key: str((EXAMPLE / concept[key]).resolve()) for key in ("image", "points", "model")}
    config["points"]["file"] = str(EXAMPLE / "points.json")
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def main() -> None:
    """Run each length in a process of its own."""
    for frames in map(int, sys.argv[1:] or ("80", "800")):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            job = longer(folder, frames)
            command = [sys.executable, "-m", "vswap_kernel.cli", "run", str(job)]
            command += ["--out", str(folder / "run"), "--store", str(folder / "store"), "--json"]
            measure = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=-3); "
            measure += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
            began = time.perf_counter()
            said = subprocess.run(
                [sys.executable, "-c", measure, *command], check=True, stdout=subprocess.PIPE, text=True
            ).stdout
            took = time.perf_counter() - began
            stages = [json.loads(line) for line in (folder / "run" / "events.jsonl").read_text().splitlines()]
            slow = ", ".join(f"{e['stage']} {e['seconds']:.0f} s" for e in stages if e["seconds"] > 1)
            print(
                f"{frames} frames: {int(said) / 1024:.0f} MiB, {took:.0f} s, {took / frames:.2f} s a frame ({slow})",
                flush=True,
            )


if __name__ == "__main__":
    main()
