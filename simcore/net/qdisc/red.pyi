import numpy as np

from simcore.net.qdisc.fifo import Fifo

class Red(Fifo):
    average: float
    weight: float
    def __init__(self, rng: np.random.Generator, limit: float, min: float | None = None, max: float | None = None, avpkt: float = 1000,
                 burst: float | None = None, probability: float = 0.02, bandwidth: float = 10e6, ecn: bool = False,
                 harddrop: bool = False) -> None: ...

def ewma_weight(burst: float, minimum: float) -> float: ...
