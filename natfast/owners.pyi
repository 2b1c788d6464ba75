import numpy as np
from numpy.typing import NDArray

def owners(frames: NDArray[np.uint8], lengths: NDArray[np.uint32], workers: int, from_outside: bool, to_outside: bool,
           key: int) -> NDArray[np.uint8]: ...
