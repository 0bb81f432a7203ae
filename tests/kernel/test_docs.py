"""The documentation is true: its Python runs, its configs load, its tables are complete."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vswap_kernel import hooks
from vswap_kernel.cli import GROUPS, app

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
SNIPPETS = [
    (page, index, code)
    for page in PAGES
    for index, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.S))
]


@pytest.mark.parametrize(("page", "index", "code"), SNIPPETS, ids=[f"{page.stem}-{i}" for page, i, _ in SNIPPETS])
def test_python_in_the_docs_runs(page: Path, index: int, code: str, tmp_path: Path) -> None:
    script = tmp_path / "snippet.py"
    script.write_text(code)
    ran = subprocess.run([sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_every_hook_is_documented_with_its_arguments() -> None:
    text = (REPOSITORY / "docs" / "plugins.md").read_text()
    for name, function in vars(hooks).items():
        if name.startswith("vswap_"):
            arguments = ", ".join(inspect.signature(function).parameters)
            assert f"`{name}({arguments})`" in text, name
            assert "@hookimpl" in (function.__doc__ or ""), name


def test_every_link_inside_the_repository_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+?)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_command_in_the_docs_exists() -> None:
    def names(typer_app: object) -> set[str]:
        return {c.name or c.callback.__name__ for c in typer_app.registered_commands}

    known = names(app) | {"demo", "toybox", "import-reference", "concept", "eval", "atlas"}
    groups = {name: names(group) for name, group in GROUPS.items()}
    groups["points"] |= {"write", "check", "draw"}
    groups["eval"] |= {"swap", "trackers", "canonical"}
    for page in PAGES:
        for line in re.findall(r"(?:^    |`)vswap ([^`\n]*)", page.read_text(), re.M):
            command, *rest = line.split()
            assert command in known | groups.keys(), f"{page.name}: vswap {line}"
            if command in groups and rest and not rest[0].startswith("-"):
                assert rest[0].split("|")[0] in groups[command], f"{page.name}: vswap {line}"


def test_configs_in_the_docs_name_what_there_is() -> None:
    from vswap_kernel.config import Settings
    from vswap_kernel.hooks import FAMILIES
    from vswap_kernel.registry import Registry

    registry, seen = Registry.discover(), 0
    for page in PAGES:
        for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S):
            for field, value in yaml.safe_load(text).items():
                assert field in Settings.model_fields or field in FAMILIES, f"{page.name}: {field}"
                for named in value if isinstance(value, list) else [value]:
                    if field in FAMILIES:
                        known = registry.get(field, named["name"]).spec.options.model_fields
                        assert named.keys() - known.keys() <= {"name"}, f"{page.name}: {named}"
                        seen += 1
        for family, option in re.findall(r"\b(swapper|motion|embedder|backbone|concept)\.(\w+)[=`]", page.read_text()):
            options = {name for c in registry.components(family) for name in c.spec.options.model_fields}
            assert option in options | {"name"}, f"{page.name}: {family}.{option}"
    assert seen
