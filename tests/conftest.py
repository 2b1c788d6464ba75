"""Paths and small builders that many tests share."""
from __future__ import annotations

from pathlib import Path

import pytest

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
