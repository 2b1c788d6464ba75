from libc.math cimport INFINITY

from simcore.engine.frame cimport fq_clear
from simcore.net.sysctl import MACHINE, check

cdef double REACHABLE = 30.0        # s that an answer holds
cdef double SWEEP_EVERY = 15.0      # s
cdef double UNUSED = 60.0           # s that a stale entry is kept at least, where there is room
cdef double YOUNG = 5.0             # s that it is kept where there is none; and so often room is made

cdef class Neighbour:
    """Who has an address on a link."""

    def __dealloc__(self):
        fq_clear(&self.waiting)

    cdef void confirm(self, double now) noexcept:
        """It has answered: it is there."""
        self.state = N_REACHABLE
        self.stale_from = now + REACHABLE

    cdef void hear(self, double now) noexcept:
        """It has said who it is, of its own accord: to be believed, and to be asked once it is needed."""
        self.state = N_REACHABLE
        self.stale_from = now


cdef class ArpCache:
    """What a machine remembers of neighbours, in all its network namespaces together.

    Linux's arp_cache (measured on 6.18): at `gc_thresh3` entries a new one is made only if old ones can go; else its packet is
    dropped ("neighbor table overflow!"), and who asks with ARP gets no answer. What can go is who did not answer, and who has
    been stale for five seconds, the oldest first, down to `gc_thresh2`; above that room is made every five seconds at most.
    Above `gc_thresh1` what has been stale for a minute goes every 15 seconds. Permanent entries do not count.

    Parameters
    ----------
    sysctl : mapping, optional
        `net.ipv4.neigh.default.gc_thresh1` (128), `2` (512), `3` (1024).

    Raises
    ------
    ValueError
        If one is no number.
    """

    def __init__(self, sysctl=None):
        values = {key: (sysctl or {}).get(key, default) for key, default in MACHINE.items()}
        check(values)
        self.gc_thresh1, self.gc_thresh2, self.gc_thresh3 = (int(float(v)) for v in values.values())
        self.entries = []
        self.swept = -INFINITY
        self.collected = -INFINITY

    def __len__(self):
        return len(self.entries)

    cdef bint remember(self, Neighbour n, double now):
        """Give an entry its place; False if there is none."""
        cdef int count
        if n.remembered:
            return True
        if now >= self.swept + SWEEP_EVERY:
            self.swept = now
            if len(self.entries) >= self.gc_thresh1:
                self.forget(now - UNUSED, len(self.entries))
        count = len(self.entries)
        if count >= self.gc_thresh3 or count >= self.gc_thresh2 and now > self.collected + YOUNG:
            self.collected = now
            if self.forget(now - YOUNG, count + 1 - self.gc_thresh2) == 0 and count >= self.gc_thresh3:
                self.overflows += 1
                return False
        n.remembered = True
        self.entries.append(n)
        self.peak = max(self.peak, <uint32_t>len(self.entries))
        return True

    cdef int forget(self, double before, int most):
        """Forget who did not answer, and who has been stale since `before`; at most so many. How many went?"""
        cdef list kept = []
        cdef Neighbour n
        cdef int gone = 0
        for n in self.entries:
            if gone < most and (n.state == 0 or n.state == N_REACHABLE and n.stale_from < before):
                n.state = 0
                n.remembered = False
                gone += 1
            else:
                kept.append(n)
        self.entries = kept
        return gone
