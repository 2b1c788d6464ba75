"""drr: deficit round robin (Shreedhar and Varghese 1995) over classes; sfq: the same over hashed flows."""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from simcore.engine.frame cimport Frame
from simcore.net.qdisc.base cimport Classful, FrameQueue, Qdisc, flow_hash, fq_clear, fq_pop, fq_pop_tail, fq_push
from simcore.net.qdisc.classify cimport Filters
from simcore.net.qdisc.fifo import Pfifo


cdef class Drr(Classful):
    """`drr`: classes take turns of `quantum` bytes.

    Parameters
    ----------
    classes : dict
        Name: a dict of `quantum` (bytes, default 1514) and `qdisc` (default a pfifo of 1000).
    filters : list of dict
        See `Filters`.
    default : str, optional
        Class of what no filter fits; without one such frames are dropped, as in Linux.
    """
    cdef readonly dict classes
    cdef list names
    cdef list quantum
    cdef list deficit
    cdef list active                    # indexes, in turn
    cdef Filters filters
    cdef int default

    def __init__(self, classes, filters=(), default=None):
        if not classes:
            raise ValueError("drr: expected at least one class")
        self.names = list(classes)
        for name, given in classes.items():
            unknown = set(given) - {"quantum", "qdisc"}
            if unknown or given.get("quantum", 1514) < 1:
                raise ValueError(f"drr: class {name}: expected quantum (at least 1 byte) and qdisc")
        self.children = [given.get("qdisc") or Pfifo(1000) for given in classes.values()]
        self.classes = dict(zip(self.names, self.children))
        self.quantum = [given.get("quantum", 1514) for given in classes.values()]
        self.deficit = [0] * len(self.names)
        self.active = []
        self.filters = Filters(list(filters), self.names)
        if default is not None and default not in self.names:
            raise ValueError(f"drr: default: {default!r} is no class")
        self.default = -1 if default is None else self.names.index(default)

    cdef bint enqueue(self, Frame* f, double now) noexcept:
        cdef int i = self.filters.classify(f)
        if i < 0:
            i = self.default
        if i < 0:
            self.drop(f)
            return False
        cdef Qdisc q = <Qdisc>self.children[i]
        cdef bint idle = q.packets == 0
        cdef bint taken = self.child_enqueue(q, f, now)
        if idle and q.packets and i not in self.active:
            self.active.append(i)
            self.deficit[i] = self.quantum[i]
        return taken

    cdef Frame* dequeue(self, double now) noexcept:
        cdef Qdisc q
        cdef Frame* f
        cdef int idle = 0
        while self.active and idle < len(self.active):
            i = self.active[0]
            q = <Qdisc>self.children[i]
            if q.packets == 0:
                self.active.pop(0)
                continue
            if self.deficit[i] <= 0:
                self.active.append(self.active.pop(0))
                self.deficit[i] += self.quantum[i]
                continue
            f = self.child_dequeue(q, now)
            if f == NULL:
                self.active.append(self.active.pop(0))
                idle += 1
                continue
            self.deficit[i] -= f.len
            return f
        return NULL

    cdef void clear(self) noexcept:
        Classful.clear(self)
        self.active.clear()


ctypedef struct Slot:
    FrameQueue queue
    int allot
    int next
    bint listed


cdef class Sfq(Qdisc):
    """`sfq`: flows, hashed to queues, take turns of `quantum` bytes; the longest loses when there are too many packets.

    Parameters
    ----------
    seed : int
        Of the hash.
    limit : int
        Packets in all.
    quantum : int
        Bytes of a turn.
    divisor : int
        Queues that flows are hashed to.
    depth : int
        Packets of one flow.
    headdrop : bool
        Drop the oldest instead of the youngest.
    perturb : float
        Seconds after which the hash is keyed anew, 0 for never.
    """
    cdef readonly uint32_t limit
    cdef readonly int quantum
    cdef readonly uint32_t divisor
    cdef readonly uint32_t depth
    cdef readonly bint headdrop
    cdef readonly double perturb
    cdef uint64_t seed
    cdef double keyed
    cdef Slot* slot
    cdef int head, tail

    def __cinit__(self, seed=0, uint32_t limit=127, int quantum=1514, uint32_t divisor=1024, uint32_t depth=127, bint headdrop=False,
                  double perturb=0.0):
        if limit < 1 or quantum < 64 or divisor < 1 or depth < 1 or perturb < 0:
            raise ValueError("sfq: limit, divisor and depth must be at least 1, quantum at least 64 bytes, perturb not negative")
        self.limit = limit
        self.quantum = quantum
        self.divisor = divisor
        self.depth = depth
        self.headdrop = headdrop
        self.perturb = perturb
        self.seed = seed & 0xFFFFFFFFFFFFFFFF
        self.head = self.tail = -1
        self.slot = <Slot*>calloc(divisor, sizeof(Slot))
        if self.slot == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.slot != NULL:
            self.clear()
        free(self.slot)

    cdef void append(self, int i) noexcept:
        self.slot[i].next = -1
        if self.head < 0:
            self.head = i
        else:
            self.slot[self.tail].next = i
        self.tail = i

    cdef bint lose(self, int i) noexcept:
        """Drop one frame of a flow."""
        cdef Frame* f = fq_pop(&self.slot[i].queue) if self.headdrop else fq_pop_tail(&self.slot[i].queue)
        self.packets -= 1
        self.bytes -= f.len
        self.drop(f)
        return self.headdrop

    cdef bint enqueue(self, Frame* f, double now) noexcept:
        cdef int i, longest
        cdef uint32_t k
        cdef bint taken = True
        if self.perturb > 0 and now - self.keyed >= self.perturb:
            self.seed = self.seed * 6364136223846793005ULL + 1442695040888963407ULL
            self.keyed = now
        i = <int>(flow_hash(f, self.seed) % self.divisor)
        fq_push(&self.slot[i].queue, f)
        self.packets += 1
        self.bytes += f.len
        if not self.slot[i].listed:
            self.slot[i].listed = True
            self.slot[i].allot = self.quantum
            self.append(i)
        if self.slot[i].queue.packets > self.depth:
            return self.lose(i)
        if self.packets > self.limit:
            longest = i
            for k in range(self.divisor):
                if self.slot[k].queue.packets > self.slot[longest].queue.packets:
                    longest = k
            taken = self.lose(longest) or longest != i
        return taken

    cdef Frame* dequeue(self, double now) noexcept:
        cdef Frame* f
        cdef int i
        while self.head >= 0:
            i = self.head
            if self.slot[i].queue.packets == 0 or self.slot[i].allot <= 0:
                self.head = self.slot[i].next
                if self.head < 0:
                    self.tail = -1
                if self.slot[i].queue.packets == 0:
                    self.slot[i].listed = False
                else:
                    self.slot[i].allot += self.quantum
                    self.append(i)
                continue
            f = fq_pop(&self.slot[i].queue)
            self.slot[i].allot -= f.len
            self.packets -= 1
            self.bytes -= f.len
            return f
        return NULL

    cdef void clear(self) noexcept:
        cdef uint32_t k
        for k in range(self.divisor):
            fq_clear(&self.slot[k].queue)
            self.slot[k].listed = False
        self.head = self.tail = -1
        self.packets = 0
        self.bytes = 0
