from mmap import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RECORD: np.dtype[np.void]

class Records:
    at: int
    names: list[str]
    def __init__(self, data: bytes | memoryview | mmap, path: str | Path) -> None: ...
    def take(self, most: int) -> NDArray[np.void]: ...
