from simcore.net.qdisc.base import Qdisc

class Tbf(Qdisc):
    rate: float
    burst: float
    child: Qdisc
    def __init__(self, rate: float, burst: float, limit: int | None = None, latency: float | None = None, peakrate: float = 0.0,
                 mtu: float = 1514, child: Qdisc | None = None) -> None: ...
