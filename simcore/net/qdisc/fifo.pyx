"""pfifo and bfifo: drop-tail by packets and by bytes."""
from simcore.engine.frame cimport Frame
from simcore.net.qdisc.base cimport Qdisc, fq_clear, fq_pop, fq_push


cdef class Fifo(Qdisc):
    """First in, first out, without a limit."""

    def __dealloc__(self):
        fq_clear(&self.queue)

    cdef bint enqueue(self, Frame* f, double now) noexcept:
        fq_push(&self.queue, f)
        self.packets += 1
        self.bytes += f.len
        return True

    cdef Frame* dequeue(self, double now) noexcept:
        cdef Frame* f = fq_pop(&self.queue)
        if f != NULL:
            self.packets -= 1
            self.bytes -= f.len
        return f

    cdef void clear(self) noexcept:
        fq_clear(&self.queue)
        self.packets = 0
        self.bytes = 0


cdef class Pfifo(Fifo):
    """`pfifo`: at most `limit` packets wait."""

    def __init__(self, limit=1000):
        if limit < 1:
            raise ValueError(f"pfifo: limit {limit}: expected at least 1 packet")
        self.limit = limit

    cdef bint enqueue(self, Frame* f, double now) noexcept:
        if self.packets >= self.limit:
            self.drop(f)
            return False
        return Fifo.enqueue(self, f, now)


cdef class Bfifo(Fifo):
    """`bfifo`: at most `limit` bytes wait, frames counted with their Ethernet header."""

    def __init__(self, limit=1514 * 1000):
        if limit < 1514:
            raise ValueError(f"bfifo: limit {limit}: expected at least one frame of 1514 bytes")
        self.limit = limit

    cdef bint enqueue(self, Frame* f, double now) noexcept:
        if self.bytes + f.len > self.limit:
            self.drop(f)
            return False
        return Fifo.enqueue(self, f, now)
