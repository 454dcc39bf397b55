"""The examples in docstrings give what they say."""

import doctest
import importlib

import pytest

from tests.unit.test_layers import MODULES, RUNNER

WITH_EXAMPLES = sorted(
    ".".join(("runner", *path.relative_to(RUNNER).with_suffix("").parts))
    for path in MODULES
    if ">>> " in path.read_text()
)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted and not found.failed
