"""codel (RFC 8289) and fq_codel (RFC 8290), as Linux does them."""
from libc.math cimport sqrt
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from simcore.engine.frame cimport Frame, frame_free
from simcore.net.qdisc.base cimport FrameQueue, Qdisc, ecn_mark, flow_hash, fq_clear, fq_pop, fq_push

ctypedef struct Law:
    double target                       # s
    double interval                     # s
    bint ecn

ctypedef struct Control:                # RFC 8289 5: the state of one queue
    double first_above                  # when the delay will have been above target for an interval, 0 if it is not
    double drop_next
    uint32_t count
    uint32_t last_count
    bint dropping

ctypedef struct Tally:
    uint32_t dropped
    uint64_t dropped_bytes
    uint32_t marked

cdef enum:
    MTU = 1514


cdef bint should_drop(const Law* law, Control* c, const FrameQueue* q, const Frame* f, double now) noexcept nogil:
    """Has the sojourn time been above target for a whole interval?"""
    if f == NULL or now - f.queued_at < law.target or q.bytes <= MTU:
        c.first_above = 0
        return False
    if c.first_above == 0:
        c.first_above = now + law.interval
        return False
    return now >= c.first_above


cdef Frame* codel_dequeue(const Law* law, Control* c, FrameQueue* q, double now, Tally* tally) noexcept:
    cdef Frame* f = fq_pop(q)
    cdef bint drop
    cdef uint32_t delta
    if f == NULL:
        c.dropping = False
        return NULL
    drop = should_drop(law, c, q, f, now)
    if c.dropping:
        if not drop:
            c.dropping = False
        while c.dropping and now >= c.drop_next:
            c.count += 1
            if law.ecn and ecn_mark(f):
                tally.marked += 1
                c.drop_next += law.interval / sqrt(c.count)
                break
            tally.dropped += 1
            tally.dropped_bytes += f.len
            frame_free(f)
            f = fq_pop(q)
            if should_drop(law, c, q, f, now):
                c.drop_next += law.interval / sqrt(c.count)
            else:
                c.dropping = False
    elif drop:
        if law.ecn and ecn_mark(f):
            tally.marked += 1
        else:
            tally.dropped += 1
            tally.dropped_bytes += f.len
            frame_free(f)
            f = fq_pop(q)
            should_drop(law, c, q, f, now)
        c.dropping = True
        # if it was dropping a moment ago, it goes on at the rate that held the queue then
        delta = c.count - c.last_count
        c.count = delta if delta > 1 and now - c.drop_next < 16 * law.interval else 1
        c.last_count = c.count
        c.drop_next = now + law.interval / sqrt(c.count)
    return f


cdef void set_law(Law* law, str name, double target, double interval, bint ecn) except *:
    if target <= 0 or interval <= target:
        raise ValueError(f"{name}: expected 0 < target < interval, got {target:g} and {interval:g} s")
    law.target = target
    law.interval = interval
    law.ecn = ecn


cdef class Codel(Qdisc):
    """`codel`: drops from the head while frames have waited longer than `target` for an `interval`.

    Parameters
    ----------
    limit : int
        Packets.
    target, interval : float
        Seconds.
    ecn : bool
        Mark instead of dropping where the packet allows it.
    """
    cdef readonly uint32_t limit
    cdef Law law
    cdef Control control
    cdef FrameQueue queue

    def __init__(self, uint32_t limit=1000, double target=5e-3, double interval=0.1, bint ecn=False):
        if limit < 1:
            raise ValueError(f"codel: limit {limit}: expected at least 1 packet")
        self.limit = limit
        set_law(&self.law, "codel", target, interval, ecn)

    def __dealloc__(self):
        fq_clear(&self.queue)

    cdef bint enqueue(self, Frame* f, double now) noexcept:
        if self.packets >= self.limit:
            self.drop(f)
            return False
        fq_push(&self.queue, f)
        self.packets += 1
        self.bytes += f.len
        return True

    cdef Frame* dequeue(self, double now) noexcept:
        cdef Tally t = Tally(0, 0, 0)
        cdef Frame* f = codel_dequeue(&self.law, &self.control, &self.queue, now, &t)
        self.packets = self.queue.packets
        self.bytes = self.queue.bytes
        self.dropped += t.dropped
        self.marked += t.marked
        return f

    cdef void clear(self) noexcept:
        fq_clear(&self.queue)
        self.packets = 0
        self.bytes = 0
        self.control = Control(0, 0, 0, 0, False)


ctypedef struct Flow:
    FrameQueue queue
    Control control
    int deficit
    int next                            # in the list that it stands in, -1 at its end
    bint listed

ctypedef struct FlowList:
    int head
    int tail


cdef class FqCodel(Qdisc):
    """`fq_codel`: flows take turns by `quantum`, new ones first; each is under CoDel.

    Parameters
    ----------
    seed : int
        Of the flow hash.
    limit : int
        Packets in all; when there are more, the head half (64 at most) of the fattest flow is dropped.
    flows : int
        Queues that flows are hashed to.
    quantum : int
        Bytes of a turn.
    target, interval, ecn
        As `Codel`; ECN is on unless said otherwise, as in Linux.
    memory_limit : int
        Bytes in all.
    """
    cdef readonly uint32_t limit
    cdef readonly uint32_t n_flows
    cdef readonly int quantum
    cdef readonly uint64_t memory_limit
    cdef Law law
    cdef uint64_t seed
    cdef Flow* flow
    cdef FlowList fresh, old

    def __cinit__(self, seed=0, uint32_t limit=10240, uint32_t flows=1024, int quantum=1514, double target=5e-3, double interval=0.1,
                  bint ecn=True, uint64_t memory_limit=32 << 20):
        if limit < 1 or not 1 <= flows <= 65536 or quantum < 256:
            raise ValueError("fq_codel: expected limit >= 1, 1 to 65536 flows and a quantum of at least 256 bytes")
        set_law(&self.law, "fq_codel", target, interval, ecn)
        self.limit = limit
        self.n_flows = flows
        self.quantum = quantum
        self.memory_limit = memory_limit
        self.seed = seed & 0xFFFFFFFFFFFFFFFF
        self.fresh = FlowList(-1, -1)
        self.old = FlowList(-1, -1)
        self.flow = <Flow*>calloc(flows, sizeof(Flow))
        if self.flow == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.flow != NULL:
            self.clear()
        free(self.flow)

    cdef void append(self, FlowList* to, int i) noexcept:
        self.flow[i].next = -1
        self.flow[i].listed = True
        if to.head < 0:
            to.head = i
        else:
            self.flow[to.tail].next = i
        to.tail = i

    cdef int shift(self, FlowList* of) noexcept:
        cdef int i = of.head
        of.head = self.flow[i].next
        if of.head < 0:
            of.tail = -1
        self.flow[i].listed = False
        return i

    cdef bint enqueue(self, Frame* f, double now) noexcept:
        cdef int i = <int>(flow_hash(f, self.seed) % self.n_flows), fattest
        fq_push(&self.flow[i].queue, f)
        self.packets += 1
        self.bytes += f.len
        if not self.flow[i].listed:
            self.flow[i].deficit = self.quantum
            self.append(&self.fresh, i)
        if self.packets <= self.limit and self.bytes <= self.memory_limit:
            return True
        fattest = self.drop_fattest()
        return fattest != i

    cdef int drop_fattest(self) noexcept:
        """Make room: half of the longest queue, from its head."""
        cdef uint32_t i, best = 0, n = 0
        cdef uint64_t half, gone = 0
        cdef Frame* f
        for i in range(1, self.n_flows):
            if self.flow[i].queue.bytes > self.flow[best].queue.bytes:
                best = i
        half = self.flow[best].queue.bytes >> 1
        while n < 64 and gone < half or n == 0:
            f = fq_pop(&self.flow[best].queue)
            if f == NULL:
                break
            gone += f.len
            n += 1
            self.packets -= 1
            self.bytes -= f.len
            self.drop(f)
        self.flow[best].control.count += n
        return best

    cdef Frame* dequeue(self, double now) noexcept:
        cdef FlowList* from_
        cdef Frame* f
        cdef Tally t
        cdef int i
        while True:
            from_ = &self.fresh if self.fresh.head >= 0 else &self.old
            i = from_.head
            if i < 0:
                return NULL
            if self.flow[i].deficit <= 0:
                self.flow[i].deficit += self.quantum
                self.shift(from_)
                self.append(&self.old, i)
                continue
            t = Tally(0, 0, 0)
            f = codel_dequeue(&self.law, &self.flow[i].control, &self.flow[i].queue, now, &t)
            self.dropped += t.dropped
            self.marked += t.marked
            self.packets -= t.dropped
            self.bytes -= t.dropped_bytes
            if f == NULL:
                # a new flow that is empty waits out one round among the old: it cannot jump the queue again at once
                self.shift(from_)
                if from_ == &self.fresh and self.old.head >= 0:
                    self.append(&self.old, i)
                continue
            self.flow[i].deficit -= f.len
            self.packets -= 1
            self.bytes -= f.len
            return f

    cdef void clear(self) noexcept:
        cdef uint32_t i
        for i in range(self.n_flows):
            fq_clear(&self.flow[i].queue)
            self.flow[i].control = Control(0, 0, 0, 0, False)
            self.flow[i].listed = False
        self.fresh = FlowList(-1, -1)
        self.old = FlowList(-1, -1)
        self.packets = 0
        self.bytes = 0
