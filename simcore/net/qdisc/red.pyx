"""red: random early detection (Floyd and Jacobson 1993), with tc's parameters."""
from libc.math cimport pow

from simcore.engine.draws cimport Draws
from simcore.engine.frame cimport Frame
from simcore.net.qdisc.base cimport ecn_mark
from simcore.net.qdisc.fifo cimport Fifo


cdef class Red(Fifo):
    """`red`: drops or marks with a probability that grows with the average queue.

    Parameters
    ----------
    rng : numpy.random.Generator
    limit, min, max : int
        Bytes: hard limit; below `min` nothing is marked, above `max` everything. `min` is a third of `max` and
        `max` a quarter of `limit` if not given.
    avpkt : int
        Bytes of an average packet.
    burst : int, optional
        Packets that may come at once while the average stays low; (2 min + max) / (3 avpkt) if not given.
    probability : float
        Of marking as the average comes near `max`.
    bandwidth : float
        bit/s, to let the average decay while the queue is empty.
    ecn, harddrop : bool
        Mark packets that allow it instead of dropping; drop even those above `max`.
    """
    cdef readonly double limit
    cdef readonly double min
    cdef readonly double max
    cdef readonly double probability
    cdef readonly double weight
    cdef readonly bint ecn
    cdef readonly bint harddrop
    cdef readonly double average            # bytes
    cdef double idle_since, per_packet
    cdef int count
    cdef double threshold
    cdef Draws draws

    def __init__(self, rng, double limit, min=None, max=None, double avpkt=1000, burst=None, double probability=0.02,
                 double bandwidth=10e6, bint ecn=False, bint harddrop=False):
        self.max = limit / 4 if max is None else max
        self.min = self.max / 3 if min is None else min
        if not 0 < self.min < self.max <= limit:
            raise ValueError(f"red: expected 0 < min < max <= limit, got {self.min:g}, {self.max:g}, {limit:g}")
        if not 0 < probability <= 1 or avpkt <= 0 or bandwidth <= 0:
            raise ValueError("red: probability must lie in (0, 1], avpkt and bandwidth must be positive")
        self.limit = limit
        self.probability = probability
        self.ecn = ecn
        self.harddrop = harddrop
        self.draws = Draws(rng)
        packets = (2 * self.min + self.max) / (3 * avpkt) if burst is None else burst
        self.weight = ewma_weight(packets, self.min / avpkt)
        self.per_packet = avpkt * 8 / bandwidth
        self.count = -1
        self.idle_since = 0.0

    cdef bint enqueue(self, Frame* f, double now) noexcept:
        cdef double pb
        cdef bint mark = False, hard = False
        if self.packets == 0 and self.idle_since >= 0:
            self.average *= pow(1 - self.weight, (now - self.idle_since) / self.per_packet)
            self.idle_since = -1
        else:
            self.average += self.weight * (self.bytes - self.average)
        if self.average < self.min:
            self.count = -1
        elif self.average >= self.max:
            self.count = -1
            mark = hard = True
        else:
            self.count += 1
            if self.count > 0:
                pb = self.probability * (self.average - self.min) / (self.max - self.min)
                if pb * self.count >= self.threshold:
                    self.count = 0
                    self.threshold = self.draws.uniform()
                    mark = True
            else:
                self.threshold = self.draws.uniform()
        if mark:
            if not self.ecn or (hard and self.harddrop) or not ecn_mark(f):
                self.drop(f)
                return False
            self.marked += 1
        if self.bytes + f.len > self.limit:
            self.drop(f)
            return False
        return Fifo.enqueue(self, f, now)

    cdef Frame* dequeue(self, double now) noexcept:
        cdef Frame* f = Fifo.dequeue(self, now)
        if self.packets == 0 and self.idle_since < 0:
            self.idle_since = now
        return f


def ewma_weight(double burst, double minimum):
    """The weight of the average that lets `burst` packets pass an empty queue: the largest power of 1/2 that does, as tc."""
    cdef double a = burst + 1 - minimum, w
    cdef int log
    if a < 1:
        raise ValueError(f"red: burst {burst:g} is smaller than min allows, expected at least {minimum:g} packets")
    for log in range(1, 32):
        w = pow(2, -log)
        if a <= (1 - pow(1 - w, burst)) / w:
            return w
    raise ValueError(f"red: burst {burst:g} is too large")
