"""What the engine's tests share."""
from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from simcore.engine.frame import live_frames


@pytest.fixture(scope="module")
def no_frame_is_lost() -> Iterator[None]:
    """What was in flight at the end of a run goes with its world. Once a module: a collection takes longer than a small run."""
    gc.collect()
    before = live_frames()
    yield
    gc.collect()
    assert live_frames() == before
