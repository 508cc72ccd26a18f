"""Docstrings are written in plain English: subject, verb, the field's term.

A docstring counts as a riddle if it holds one of the words below. httpx and Starlette have them in less than one
docstring of a hundred.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

RIDDLE = re.compile(
    r"\b(what|whatever|who|whoever|whom|nobody|somebody|anybody|everybody|those (who|that|which|of))\b",
    re.IGNORECASE,
)
MAX_SHARE = 0.02


def docstrings(package: Path) -> Iterator[tuple[str, str]]:
    """Place and text of every docstring of a package."""
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text:
                    yield f"{path.relative_to(REPOSITORY)}:{getattr(node, 'lineno', 1)}", text


@pytest.mark.parametrize("package", ["app", "bench", "client", "model_store", "training"])
def test_docstrings_hold_no_riddles(package: str) -> None:
    found = list(docstrings(REPOSITORY / package))
    riddles = [f"{place}: {text}" for place, text in found if RIDDLE.search(text)]
    assert len(riddles) <= MAX_SHARE * len(found), "\n".join(riddles)
