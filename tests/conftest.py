"""Paths and small builders that many tests share."""
from __future__ import annotations

import os
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


# continuous integration repeats the same examples; a developer's machine looks for new ones
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
