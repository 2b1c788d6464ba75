"""Paths and small builders that many tests share."""
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data"


@pytest.fixture
def data() -> Path:
    """Recorded cases and captures."""
    return DATA


@pytest.fixture
def root() -> Path:
    """The project."""
    return ROOT


# `make test` repeats the same examples, so that what it finds is a change's own doing; `make fuzz` looks for new ones
settings.register_profile("repeat", derandomize=True)
settings.register_profile("search", print_blob=True)
settings.load_profile("repeat")
