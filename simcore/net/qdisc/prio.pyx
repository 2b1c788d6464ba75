"""prio: strict priority bands."""
from natfast.headers cimport ETH_P_IP, be16
from simcore.engine.frame cimport Frame
from simcore.net.qdisc.base cimport Classful, Qdisc
from simcore.net.qdisc.classify cimport Filters
from simcore.net.qdisc.fifo import Pfifo

PRIOMAP = (1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)

# Linux's priority of a packet by its TOS field: best effort 0, bulk 2, interactive 6, interactive bulk 4
cdef int* TOS2PRIO = [0, 0, 0, 0, 2, 2, 2, 2, 6, 6, 6, 6, 4, 4, 4, 4]


cdef class Prio(Classful):
    """`prio`: band 0 is served before band 1 before band 2.

    Parameters
    ----------
    bands : int or list of Qdisc
        Their number (each a pfifo of 1000), or what they are.
    priomap : sequence of 16 int
        Band of each Linux priority, which follows from the TOS field, where no filter decides.
    filters : list of dict
        See `Filters`; classes are the bands' numbers.
    """
    cdef int map[16]
    cdef Filters filters

    def __init__(self, bands=3, priomap=PRIOMAP, filters=()):
        self.children = [Pfifo(1000) for _ in range(bands)] if isinstance(bands, int) else list(bands)
        if not 2 <= len(self.children) <= 16:
            raise ValueError(f"prio: {len(self.children)} bands, expected 2 to 16")
        if len(priomap) != 16 or not all(0 <= b < len(self.children) for b in priomap):
            raise ValueError(f"prio: priomap: expected 16 bands from 0 to {len(self.children) - 1}")
        for i, band in enumerate(priomap):
            self.map[i] = band
        self.filters = Filters(list(filters), list(range(len(self.children))))

    @property
    def bands(self):
        """The bands, the first to be served first."""
        return self.children

    cdef bint enqueue(self, Frame* f, double now) noexcept:
        cdef int band = self.filters.classify(f), priority = 0
        if band < 0:
            if f.have >= 16 and be16(f.data + 12) == ETH_P_IP:
                priority = TOS2PRIO[(f.data[15] & 0x1E) >> 1]
            band = self.map[priority]
        return self.child_enqueue(<Qdisc>self.children[band], f, now)

    cdef Frame* dequeue(self, double now) noexcept:
        cdef Qdisc band
        cdef Frame* f
        for band in self.children:
            if band.packets:
                f = self.child_dequeue(band, now)
                if f != NULL:
                    return f
        return NULL
