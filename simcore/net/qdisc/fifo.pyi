from simcore.net.qdisc.base import Qdisc

class Fifo(Qdisc): ...

class Pfifo(Fifo):
    limit: int
    def __init__(self, limit: int = 1000) -> None: ...

class Bfifo(Fifo):
    limit: int
    def __init__(self, limit: int = ...) -> None: ...
