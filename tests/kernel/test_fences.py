"""What keeps the kernel small, light and independent."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
HEAVY = ("torch", "cv2", "diffusers", "transformers", "onnxruntime", "scipy", "av", "numpy")


def loaded_by(statement: str) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after the statement."""
    script = f"import sys\n{statement}\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(ran.stdout.splitlines()[-1].split())


def test_importing_the_kernel_loads_nothing_heavy() -> None:
    assert loaded_by("import vswap_kernel") == set()
    assert loaded_by("from vswap_kernel.api import ComponentSpec, Options, hookimpl") == set()


def test_listing_plugins_loads_nothing_heavy() -> None:
    listing = "from vswap_kernel import cli\ntry:\n    cli.main(['plugins', 'list'])\nexcept SystemExit:\n    pass"
    assert loaded_by(listing) == set()


def test_every_public_name_of_the_kernel_is_there() -> None:
    import vswap_kernel

    for name in vswap_kernel.__all__:
        assert getattr(vswap_kernel, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Vidoe'"):
        _ = vswap_kernel.Vidoe


def code_lines(path: Path) -> int:
    """Lines that hold code: not blank, not only a comment, not a docstring."""
    text, lines = path.read_text(), set()
    empty = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in empty:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_the_kernel_stays_small() -> None:
    kernel = REPOSITORY / "vswap_kernel"
    files = [path for path in kernel.rglob("*.py") if "testing" not in path.parts]
    assert sum(code_lines(path) for path in files) < 2550


def test_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 broken" in ran.stdout


def test_registration_modules_import_only_what_is_light() -> None:
    allowed = ("__future__", "collections", "pathlib", "typing", "pydantic", "vswap_kernel.api")
    for path in sorted(REPOSITORY.glob("plugins/*/vswap_*/register.py")):
        top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = [alias.name for node in top if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in top if isinstance(node, ast.ImportFrom)]
        own = f"{path.parent.name}."
        assert [name for name in names if not name.startswith((*allowed, own))] == [], path
