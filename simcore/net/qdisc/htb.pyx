"""htb: hierarchical token buckets (Devera 2002), as Linux does it."""
from libc.math cimport INFINITY
from libc.stdint cimport uint64_t

from simcore.engine.frame cimport Frame
from simcore.net.qdisc.base cimport EPS, Classful, Qdisc
from simcore.net.qdisc.classify cimport Filters
from simcore.net.qdisc.fifo import Pfifo

cdef enum:
    MAX_LEVEL = 8
    MAX_PRIO = 8
    MTU = 1600                          # what tc adds to a burst that it has to choose

cdef enum:                              # what a class may do now
    CANT_SEND = 0                       # above its ceil
    MAY_BORROW = 1                      # above its rate, below its ceil
    CAN_SEND = 2

CLASS_KEYS = ("parent", "rate", "ceil", "burst", "cburst", "prio", "quantum", "qdisc")


cdef class HtbClass:
    """A class: `rate` is guaranteed, up to `ceil` it borrows what its parent has left."""
    cdef readonly str name
    cdef readonly HtbClass parent
    cdef readonly Qdisc qdisc           # None for an inner class
    cdef readonly int level             # 0 for a leaf
    cdef readonly int prio
    cdef readonly double rate           # bytes/s
    cdef readonly double ceil
    cdef readonly double buffer         # s of sending at rate
    cdef readonly double cbuffer
    cdef readonly int quantum
    cdef readonly uint64_t lends
    cdef readonly uint64_t borrows
    cdef readonly uint64_t sent         # bytes
    cdef double tokens, ctokens, checked
    cdef int deficit[MAX_LEVEL]

    cdef int mode(self, double now, double* wait) noexcept:
        """What it may do, and for how long that stays so without sending."""
        cdef double passed = min(now - self.checked, 60.0)
        cdef double c = min(self.ctokens + passed, self.cbuffer), t
        if c < -EPS:
            wait[0] = -c
            return CANT_SEND
        t = min(self.tokens + passed, self.buffer)
        if t >= -EPS:
            return CAN_SEND
        wait[0] = -t
        return MAY_BORROW

    cdef void charge(self, double now, uint64_t size, int level) noexcept:
        """Pay for a frame that was sent by the rate of a class at `level`: below it, only ceils are charged."""
        cdef double passed = min(now - self.checked, 60.0)
        if self.level >= level:
            if self.level == level:
                self.lends += 1
            self.tokens = max(min(self.tokens + passed, self.buffer) - size / self.rate, -60.0)
        else:
            self.borrows += 1
            self.tokens = min(self.tokens + passed, self.buffer)
        self.ctokens = max(min(self.ctokens + passed, self.cbuffer) - size / self.ceil, -60.0)
        self.checked = now
        self.sent += size


cdef class Htb(Classful):
    """`htb`: classes with guaranteed rates that share what is left.

    Parameters
    ----------
    classes : dict
        Name: a dict of `rate` (bit/s), and any of `parent`, `ceil` (bit/s, default rate), `burst` and `cburst`
        (bytes, default one packet), `prio` (0 to 7, lower is served first), `quantum` (bytes of a turn), `qdisc` (of a
        leaf, default a pfifo of 1000).
    filters : list of dict
        See `Filters`.
    default : str, optional
        Class of what no filter fits; without one such frames pass unshaped, before all others.
    r2q : int
        quantum = rate / r2q where none is given, 1000 to 200 000 bytes.

    Raises
    ------
    ValueError
        For an unknown parent, class or key, a cycle, or a rate that is not positive.
    """
    cdef readonly dict classes
    cdef list leaves
    cdef list by_index
    cdef Filters filters
    cdef HtbClass default
    cdef readonly Qdisc direct
    cdef int turn[MAX_LEVEL][MAX_PRIO]  # the leaf that is served next

    def __init__(self, classes, filters=(), default=None, double r2q=10):
        cdef HtbClass c
        self.classes = {}
        if not classes:
            raise ValueError("htb: expected at least one class")
        names = list(classes)
        for name, given in classes.items():
            unknown = set(given) - set(CLASS_KEYS)
            if unknown:
                raise ValueError(f"htb: class {name}: {', '.join(sorted(unknown))}: unknown, expected {', '.join(CLASS_KEYS)}")
            c = HtbClass()
            c.name = str(name)
            c.rate = given.get("rate", 0) / 8
            if c.rate <= 0:
                raise ValueError(f"htb: class {name}: rate must be positive")
            c.ceil = (given.get("ceil") or given["rate"]) / 8
            if c.ceil < c.rate:
                raise ValueError(f"htb: class {name}: ceil is below rate")
            c.buffer = (given.get("burst") or c.rate / 1e9 + MTU) / c.rate
            c.cbuffer = (given.get("cburst") or c.ceil / 1e9 + MTU) / c.ceil
            c.tokens = c.buffer
            c.ctokens = c.cbuffer
            c.prio = given.get("prio", 0)
            if not 0 <= c.prio < MAX_PRIO:
                raise ValueError(f"htb: class {name}: prio {c.prio}, expected 0 to 7")
            c.quantum = given.get("quantum") or int(min(max(c.rate / r2q, 1000), 200000))
            self.classes[name] = c
        parents = {given.get("parent") for given in classes.values()}
        for name, given in classes.items():
            c = self.classes[name]
            parent = given.get("parent")
            if parent is not None:
                if parent not in self.classes or parent == name:
                    raise ValueError(f"htb: class {name}: parent {parent!r} is no other class")
                c.parent = self.classes[parent]
            if name in parents:
                if given.get("qdisc") is not None:
                    raise ValueError(f"htb: class {name} has classes below it, so it takes no qdisc")
            else:
                c.qdisc = given.get("qdisc") or Pfifo(1000)
        self.by_index = list(self.classes.values())
        self.leaves = [c for c in self.classes.values() if c.qdisc is not None]
        for c in self.by_index:
            self.raise_levels(c)
        self.filters = Filters(list(filters), names)
        for given in filters:
            if (<HtbClass>self.classes[given["class"]]).qdisc is None:
                raise ValueError(f"htb: filter: class {given['class']} is not a leaf")
        if default is not None:
            if default not in self.classes or (<HtbClass>self.classes[default]).qdisc is None:
                raise ValueError(f"htb: default: {default!r} is no leaf class")
            self.default = self.classes[default]
        self.direct = Pfifo(1000)
        self.children = [*(c.qdisc for c in self.leaves), self.direct]

    def raise_levels(self, HtbClass c):
        level = 0
        while c.parent is not None:
            level += 1
            if level >= MAX_LEVEL:
                raise ValueError(f"htb: class {c.name}: more than {MAX_LEVEL} levels, or a cycle")
            c = c.parent
            c.level = max(c.level, level)

    cdef bint enqueue(self, Frame* f, double now) noexcept:
        cdef int i = self.filters.classify(f)
        cdef HtbClass c = self.default
        if i >= 0:
            c = <HtbClass>self.by_index[i]
        return self.child_enqueue(self.direct if c is None else c.qdisc, f, now)

    cdef int lender(self, HtbClass c, double now, double* until) noexcept:
        """Level of the class whose rate pays for this leaf now, -1 if it has to wait; `until`: when that may change."""
        cdef double wait = INFINITY
        cdef int mode
        while c is not None:
            mode = c.mode(now, &wait)
            if mode == CAN_SEND:
                return c.level
            until[0] = min(until[0], now + wait)
            if mode == CANT_SEND:
                return -1
            c = c.parent
        return -1

    cdef Frame* dequeue(self, double now) noexcept:
        cdef HtbClass c
        cdef Frame* f
        cdef int level, prio, n = len(self.leaves), i, k, best_level = MAX_LEVEL, best_prio = MAX_PRIO
        cdef double until = INFINITY
        if self.direct.packets:
            return self.child_dequeue(self.direct, now)
        for c in self.leaves:                           # lowest level first, then priority
            if c.qdisc.packets:
                level = self.lender(c, now, &until)
                if level >= 0 and (level < best_level or level == best_level and c.prio < best_prio):
                    best_level = level
                    best_prio = c.prio
        if best_level == MAX_LEVEL:
            self.overlimits += 1
            return NULL
        i = self.turn[best_level][best_prio]
        for k in range(n):                              # of those, who is next in turn
            c = <HtbClass>self.leaves[(i + k) % n]
            if c.prio != best_prio or c.qdisc.packets == 0 or self.lender(c, now, &until) != best_level:
                continue
            f = self.child_dequeue(c.qdisc, now)
            if f == NULL:
                continue
            i = (i + k) % n
            c.deficit[best_level] -= f.len
            if c.deficit[best_level] < 0:
                c.deficit[best_level] += c.quantum
                i = (i + 1) % n
            self.turn[best_level][best_prio] = i
            while c is not None:
                c.charge(now, f.len, best_level)
                c = c.parent
            return f
        return NULL

    cdef double ready(self, double now) noexcept:
        cdef HtbClass c
        cdef double until = INFINITY
        for c in self.leaves:
            if c.qdisc.packets and self.lender(c, now, &until) >= 0:
                until = min(until, c.qdisc.ready(now))
        return until
