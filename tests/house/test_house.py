"""The shape of the code: rooms, modules and functions stay small enough to be read, and a name has one owner."""

import ast
import os
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("hashing", "storage", "node")
MAX_MODULE_LINES, MAX_FOLDER_MODULES = 300, 14
MAX_FUNCTION_LINES, MAX_TEST_LINES = 25, 40
"""A function does one step; a test, with what is given, done and expected, fits on a screen."""


@cache
def modules(*folders: str) -> tuple[tuple[str, str], ...]:
    """Path from the repository's root, and text, of every module below some of its folders."""
    paths = [path for folder in folders for path in sorted((REPOSITORY / folder).rglob("*.py"))]
    return tuple((str(path.relative_to(REPOSITORY)), path.read_text()) for path in paths)


@cache
def tree(text: str) -> ast.Module:
    """What Python reads in the text of a module."""
    return ast.parse(text)


def lines_of_body(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the first statement after the docstring to the last."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    lengths = {path: text.count("\n") for path, text in modules(*PACKAGES, "tests")}

    assert {path: lines for path, lines in lengths.items() if lines > MAX_MODULE_LINES} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    offenders = {
        f"{path}:{node.lineno} {node.name}": lines_of_body(node)
        for path, text in modules(*PACKAGES, "tests")
        for node in ast.walk(tree(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if lines_of_body(node) > (MAX_TEST_LINES if path.startswith("tests") else MAX_FUNCTION_LINES)
    }

    assert offenders == {}


def test_no_folder_holds_more_modules_than_a_room() -> None:
    rooms: dict[str, int] = defaultdict(int)
    for path, _ in modules(*PACKAGES, "tests"):
        rooms[str(Path(path).parent)] += Path(path).name != "__init__.py"
    del rooms["tests/benchmarks"]  # programs, each with its own helpers

    assert {room: count for room, count in rooms.items() if count > MAX_FOLDER_MODULES} == {}


def test_a_public_class_has_a_name_of_its_own() -> None:
    owners: dict[str, list[str]] = defaultdict(list)
    for path, text in modules(*PACKAGES):
        for node in ast.walk(tree(text)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                owners[node.name].append(path)

    assert {name: paths for name, paths in owners.items() if len(paths) > 1} == {}


def public(body: list[ast.stmt]) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """Public classes, functions and methods of a module's or a class's body."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node
            yield from public(node.body) if isinstance(node, ast.ClassDef) else ()


def test_everything_public_says_what_the_caller_gets() -> None:
    silent = [
        f"{path}:{node.lineno} {node.name}"
        for path, text in modules(*PACKAGES)
        for node in public(tree(text).body)
        if ast.get_docstring(node) is None
    ]

    assert silent == []


def test_packages_say_nothing_when_they_are_imported() -> None:
    assert [path for path, text in modules(*PACKAGES) if path.endswith("__init__.py") and text.strip()] == []


def test_a_module_is_run_by_one_of_the_processes_side_by_side(request: pytest.FixtureRequest) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("one process runs all tests")

    assert request.node.nodeid.endswith("@test_house")
