import numpy as np

from simcore.net.qdisc.fifo import Fifo

class Pie(Fifo):
    probability: float
    def __init__(self, rng: np.random.Generator, limit: int = 1000, target: float = 15e-3, tupdate: float = 15e-3, alpha: float = 2,
                 beta: float = 20, ecn: bool = False, bytemode: bool = False) -> None: ...
