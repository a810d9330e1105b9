"""The house: what stands where, how long it may be, and what pure code may not touch.

`lint-imports` keeps the layers; this keeps what it cannot see.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from inspect import getfile
from pathlib import Path
from typing import Final

import pytest

from domain.registry import AGGREGATES

ROOT: Final = Path(__file__).parents[2]
LAYERS: Final = ("api", "domain", "infra", "readmodels")

AROUND: Final = {
    ".ci",
    ".dockerignore",
    ".gitignore",
    "CHANGELOG.md",
    "Dockerfile",
    "LICENSE",
    "Makefile",
    "README.md",
    "compose.yaml",
    "pyproject.toml",
    "requirements-dev.lock",
    "requirements.lock",
}
"""What every project has."""

MOST_LINES: Final = 300
MOST_LINES_OF_AN_AGGREGATE: Final = 400
MOST_LINES_OF_TESTS: Final = 500
MOST_LINES_OF_A_FUNCTION: Final = 50

PURE: Final = {"domain": {"domain"}, "readmodels": {"domain", "readmodels"}}
"""Pure packages, with the packages they may import beside the standard library."""

OUTSIDE_WORLD: Final = {"asyncio", "os", "random", "secrets", "socket", "subprocess", "threading"}
OUTSIDE_WORLD_CALLS: Final = {
    *("now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter"),
    *("uuid1", "uuid4", "open", "input", "print", "eval", "exec"),
}
"""Clock, chance and I/O: a pure function gets such things as arguments."""

AGGREGATE_FILES: Final = {Path(getfile(decider.decide)) for decider in AGGREGATES}


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def most_lines(path: Path) -> int:
    if path in AGGREGATE_FILES:
        return MOST_LINES_OF_AN_AGGREGATE
    return MOST_LINES_OF_TESTS if name(path).startswith("tests/") else MOST_LINES


def imported(path: Path) -> Iterator[str]:
    """The top-level packages that a file imports."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{name(path)} imports relatively"
            yield node.module.partition(".")[0]


def called(path: Path) -> Iterator[str]:
    """The last part of the name of everything that a file calls."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a checkout knows what is tracked")
def test_everything_has_its_place() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    top_level = {path.partition("/")[0] for path in tracked}
    assert top_level <= AROUND | {*LAYERS, "tests"}


@pytest.mark.parametrize("path", python_files(*LAYERS, "tests"), ids=name)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= most_lines(path)


@pytest.mark.parametrize("path", python_files(*LAYERS, "tests"), ids=name)
def test_functions_are_short(path: Path) -> None:
    functions = (
        node
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    lengths = {f.name: (f.end_lineno or f.lineno) - f.lineno + 1 for f in functions}
    assert {f: n for f, n in lengths.items() if n > MOST_LINES_OF_A_FUNCTION} == {}


@pytest.mark.parametrize("path", python_files(*LAYERS), ids=name)
def test_every_file_with_code_says_what_it_is(path: Path) -> None:
    module = tree(path)
    assert ast.get_docstring(module) or not module.body


@pytest.mark.parametrize("path", python_files(*LAYERS), ids=name)
def test_there_is_no_metaclass(path: Path) -> None:
    classes = (node for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef))
    assert [c.name for c in classes if c.keywords] == []


@pytest.mark.parametrize("path", python_files(*PURE), ids=name)
def test_pure_code_imports_the_standard_library_and_the_domain_only(path: Path) -> None:
    allowed = sys.stdlib_module_names | PURE[path.relative_to(ROOT).parts[0]]
    assert set(imported(path)) - (allowed - OUTSIDE_WORLD) == set()


@pytest.mark.parametrize("path", python_files(*PURE), ids=name)
def test_pure_code_asks_no_clock_no_chance_and_no_outside_world(path: Path) -> None:
    assert OUTSIDE_WORLD_CALLS.intersection(called(path)) == set()
