"""docs/compat/http.md names tests: they are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PAGE = REPOSITORY / "docs" / "compat" / "http.md"
NAMED = sorted(set(re.findall(r"`(tests/[^`]+)`", PAGE.read_text())))


def functions_of(path: Path) -> set[str]:
    """`function` and `Class::function` of a file."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            functions = [item for item in node.body if isinstance(item, ast.FunctionDef)]
            found |= {f"{node.name}::{function.name}" for function in functions}
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
    return found


def test_every_clause_has_a_test():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| RFC")]
    assert len(rows) > 30
    assert all(re.search(r"\| `tests/[^`]+` \|$", row) for row in rows)


@pytest.mark.parametrize("named", NAMED)
def test_a_test_that_is_named_is_there(named):
    path, _, name = named.partition("::")
    assert (REPOSITORY / path).is_file()
    assert not name or name in functions_of(REPOSITORY / path)
