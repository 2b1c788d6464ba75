"""pie: proportional integral controller enhanced (RFC 8033), as Linux does it."""
from libc.stdint cimport uint32_t

from simcore.engine.draws cimport Draws
from simcore.engine.frame cimport Frame
from simcore.net.qdisc.base cimport ecn_mark
from simcore.net.qdisc.fifo cimport Fifo

cdef double MAX_BURST = 0.15            # s in which nothing is dropped after the queue was idle
cdef enum:
    MTU = 1514


cdef class Pie(Fifo):
    """`pie`: drops on arrival with a probability that a controller moves to hold the delay at `target`.

    Parameters
    ----------
    rng : numpy.random.Generator
    limit : int
        Packets.
    target, tupdate : float
        Seconds: wanted delay; time between updates of the probability.
    alpha, beta : float
        Gains in 1/16 per second, as tc takes them.
    ecn : bool
        Mark instead of dropping while the probability is at most 10 %.
    bytemode : bool
        Scale the probability with the packet's size.
    """
    cdef readonly uint32_t limit
    cdef readonly double target
    cdef readonly double tupdate
    cdef readonly double alpha
    cdef readonly double beta
    cdef readonly bint ecn
    cdef readonly bint bytemode
    cdef readonly double probability
    cdef double delay, delay_old, burst, accumulated, updated, last_dequeue
    cdef Draws draws

    def __init__(self, rng, uint32_t limit=1000, double target=15e-3, double tupdate=15e-3, double alpha=2, double beta=20, bint ecn=False,
                 bint bytemode=False):
        if limit < 1 or target <= 0 or tupdate <= 0 or alpha <= 0 or beta <= 0:
            raise ValueError("pie: limit, target, tupdate, alpha and beta must be positive")
        self.draws = Draws(rng)
        self.limit = limit
        self.target = target
        self.tupdate = tupdate
        self.alpha = alpha / 16
        self.beta = beta / 16
        self.ecn = ecn
        self.bytemode = bytemode
        self.burst = MAX_BURST
        self.last_dequeue = -1

    cdef bint drop_early(self, const Frame* f) noexcept:
        cdef double p = self.probability
        if self.burst > 0:
            return False
        if self.delay < self.target / 2 and p < 0.2:
            return False
        if self.bytes < 2 * MTU:
            return False
        if self.bytemode and f.len <= MTU:
            p = p * f.len / MTU
        if p == 0:
            self.accumulated = 0
            return False
        # derandomised: not before 0.85 have gathered, surely at 8.5 (RFC 8033 5.4)
        self.accumulated += p
        if self.accumulated < 0.85:
            return False
        if self.accumulated >= 8.5 or self.draws.uniform() < p:
            self.accumulated = 0
            return True
        return False

    cdef void update(self, double now) noexcept:
        """Catch up with the controller's timer; between frames the delay it reads does not change."""
        while self.updated + self.tupdate <= now:
            self.updated += self.tupdate
            if self.probability == 0 and self.delay == 0 and self.delay_old == 0 and self.burst == MAX_BURST:
                self.updated += <long>((now - self.updated) / self.tupdate) * self.tupdate
                return
            self.step()

    cdef void step(self) noexcept:
        cdef double p = self.probability, scale = 1.0, delta, power = 0.1
        cdef bint idle_update = True
        if self.delay == 0 and self.packets:
            idle_update = False
        if p < 0.1:                         # gains shrink with the probability (RFC 8033 4.2)
            scale = 0.5
            power = 0.01
            while p < power and power >= 1e-6:
                scale /= 4
                power /= 10
        delta = scale * (self.alpha * (self.delay - self.target) + self.beta * (self.delay - self.delay_old))
        if delta > 0.02 and p >= 0.1:
            delta = 0.02
        if self.delay > 0.25:
            delta += 0.02
        p = min(max(p + delta, 0.0), 1.0)
        if self.delay == 0 and self.delay_old == 0 and idle_update:
            p -= p / 64
            if p < 1e-9:
                p = 0
        self.probability = p
        if self.delay < self.target / 2 and self.delay_old < self.target / 2 and p == 0:
            self.burst = MAX_BURST
            self.accumulated = 0
        self.delay_old = self.delay

    cdef bint enqueue(self, Frame* f, double now) noexcept:
        self.update(now)
        if self.packets >= self.limit:
            self.drop(f)
            return False
        if self.drop_early(f):
            if not self.ecn or self.probability > 0.1 or not ecn_mark(f):
                self.drop(f)
                return False
            self.marked += 1
        return Fifo.enqueue(self, f, now)

    cdef Frame* dequeue(self, double now) noexcept:
        cdef Frame* f
        self.update(now)
        f = Fifo.dequeue(self, now)
        if f == NULL:
            return f
        self.delay = now - f.queued_at if self.packets else 0.0
        if self.last_dequeue >= 0 and self.burst > 0:
            self.burst = max(self.burst - (now - self.last_dequeue), 0.0)
        self.last_dequeue = now
        return f
