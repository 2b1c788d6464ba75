"""Python's garbage collector during a run."""
from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def frozen() -> Iterator[None]:
    """Let the collector look only at what comes into being from now on.

    A world of thousands of namespaces is half a million objects that all live until the end of its run: without this
    they are looked through again and again.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
