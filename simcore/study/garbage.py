"""Python's garbage collector during a run."""
from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

_GROWN = 1.25
_SECONDS = 1.0
_kept = 0           # blocks of memory that the last collection left
_collected = 0.0    # when it was


def collect_some() -> None:
    """Collect if that may free much: Python's memory has grown by a quarter, or a second has passed since the last time.

    A collection looks at all objects there are, which takes longer than many a run. The collector itself does not know when it
    is time: its counts start anew with each `gc.freeze`.
    """
    global _kept, _collected
    if sys.getallocatedblocks() > _GROWN * _kept or monotonic() > _collected + _SECONDS:
        gc.collect()
        _kept, _collected = sys.getallocatedblocks(), monotonic()


@contextmanager
def frozen() -> Iterator[None]:
    """Let the collector look only at what comes into being from now on.

    A world of thousands of namespaces is half a million objects that all live until the end of its run: without this
    they are looked through again and again.
    """
    collect_some()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
