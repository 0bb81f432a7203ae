"""The example distribution under examples/, installed as a user would install it, but from this folder alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "examples" / "vswap-example-tracker"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like site-packages with the example in it. The build works on a copy: it writes beside its sources."""
    copy, site = (tmp_path_factory.mktemp("example") / name for name in ("source", "site"))
    shutil.copytree(SOURCE, copy)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, "--target", str(site), str(copy)], capture_output=True, text=True)
    if "No module named pip" in done.stderr:
        pytest.skip("pip isn't in this environment")
    assert done.returncode == 0, done.stderr
    return site


def _python(*arguments: str, site: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(site)}, cwd=folder, capture_output=True, text=True
    )


def test_discovery_finds_the_example_with_its_distribution(installed: Path, tmp_path: Path) -> None:
    code = (
        "import json; from vswap_kernel.registry import Registry; found = Registry.discover().get('tracker', "
        "'example-template'); print(json.dumps([found.distribution, found.version]))"
    )
    done = _python("-c", code, site=installed, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["vswap-example-tracker", "0.1.0"]


def test_its_own_conformance_tests_pass(installed: Path, tmp_path: Path) -> None:
    shutil.copytree(SOURCE / "tests", tmp_path / "tests")
    options = ("-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "tests")
    done = _python(*options, site=installed, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " xfailed" in done.stdout.splitlines()[-1]
    assert "failed," not in done.stdout.replace("xfailed,", "")
