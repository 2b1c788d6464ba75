"""tbf: a token bucket in front of a queue."""
from libc.math cimport INFINITY

from simcore.engine.frame cimport Frame, frame_free
from simcore.net.qdisc.base cimport EPS, Qdisc
from simcore.net.qdisc.fifo import Bfifo


cdef class Tbf(Qdisc):
    """`tbf`: frames leave when the bucket holds tokens for all their bytes.

    Parameters
    ----------
    rate : float
        bit/s at which the bucket fills.
    burst : int
        Bytes that the bucket holds; a frame larger than it can never leave and is dropped.
    limit : int, optional
        Bytes that may wait. Or `latency`: seconds that a frame may wait at most.
    peakrate : float, optional
        bit/s that a burst may reach, with a bucket of `mtu` bytes.
    child : Qdisc, optional
        What holds the frames, instead of a bfifo of `limit`.

    Raises
    ------
    ValueError
        If rate, burst or both limit and latency are missing or not positive.
    """
    cdef readonly double rate
    cdef readonly double peakrate
    cdef readonly double burst
    cdef readonly double mtu
    cdef readonly Qdisc child
    cdef double tokens, ptokens, checked            # s of sending at (peak) rate; when they were counted
    cdef Frame* head                                # taken from the child, waits for tokens
    cdef double at

    def __init__(self, double rate, double burst, limit=None, latency=None, double peakrate=0.0, double mtu=1514, Qdisc child=None):
        if rate <= 0 or burst <= 0:
            raise ValueError("tbf: rate and burst must be positive")
        if (limit is None) == (latency is None) and child is None:
            raise ValueError("tbf: expected either limit (bytes) or latency (seconds)")
        if peakrate and peakrate <= rate:
            raise ValueError("tbf: peakrate must be higher than rate")
        self.rate = rate / 8
        self.peakrate = peakrate / 8
        self.burst = burst
        self.mtu = mtu
        if child is None:
            child = Bfifo(max(1514, limit if limit is not None else int(self.rate * latency + burst)))
        self.child = child
        self.tokens = burst / self.rate
        self.ptokens = mtu / self.peakrate if peakrate else 0.0

    def __dealloc__(self):
        self.forget()

    cdef void forget(self) noexcept:
        if self.head != NULL:
            frame_free(self.head)
            self.head = NULL

    cdef bint enqueue(self, Frame* f, double now) noexcept:
        if f.len > self.burst or self.peakrate > 0 and f.len > self.mtu:
            self.drop(f)
            return False
        return self.child_enqueue(self.child, f, now)

    cdef Frame* dequeue(self, double now) noexcept:
        cdef Frame* f = self.head
        cdef double passed, tokens, ptokens = 0.0
        if f == NULL:
            if self.child.packets == 0:
                return NULL
            f = self.child_dequeue(self.child, now)
            if f == NULL:
                self.at = self.child.ready(now)
                return NULL
            self.packets += 1                       # still ours until it leaves
            self.bytes += f.len
        passed = min(now - self.checked, self.burst / self.rate)
        if self.peakrate > 0:
            ptokens = min(passed + self.ptokens, self.mtu / self.peakrate) - f.len / self.peakrate
        tokens = min(passed + self.tokens, self.burst / self.rate) - f.len / self.rate
        if tokens < -EPS or ptokens < -EPS:
            self.head = f
            self.overlimits += 1
            self.at = now + max(-tokens, -ptokens)
            return NULL
        self.head = NULL
        self.checked = now
        self.tokens = tokens
        self.ptokens = ptokens
        self.packets -= 1
        self.bytes -= f.len
        return f

    cdef double ready(self, double now) noexcept:
        return self.at if self.packets else INFINITY

    cdef void clear(self) noexcept:
        self.forget()
        self.child.clear()
        self.packets = 0
        self.bytes = 0
