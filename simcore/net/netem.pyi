from collections.abc import Mapping

import numpy as np

class Netem:
    jitter: float
    loss: float
    def __init__(self, rng: np.random.Generator, jitter: float = 0.0, distribution: str = "uniform",
                 loss: float | Mapping[str, float] = 0.0,
                 loss_correlation: float = 0.0, jitter_correlation: float = 0.0, duplicate: float = 0.0, corrupt: float = 0.0,
                 reorder: float = 0.0, gap: int = 1) -> None: ...
