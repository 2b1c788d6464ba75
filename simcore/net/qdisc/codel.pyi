from simcore.net.qdisc.base import Qdisc

class Codel(Qdisc):
    limit: int
    def __init__(self, limit: int = 1000, target: float = 5e-3, interval: float = 0.1, ecn: bool = False) -> None: ...

class FqCodel(Qdisc):
    limit: int
    def __init__(self, seed: int = 0, limit: int = 10240, flows: int = 1024, quantum: int = 1514, target: float = 5e-3,
                 interval: float = 0.1, ecn: bool = True, memory_limit: int = ...) -> None: ...
