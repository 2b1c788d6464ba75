from dataclasses import dataclass, fields

from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.math cimport log10
from libc.stdlib cimport abort, calloc, free, realloc

from natfast.hooks cimport Netfilter
from simcore.engine.draws cimport Draws
from simcore.engine.frame cimport Frame, frame_free
from simcore.net.interface cimport Interface
from simcore.net.endpoints cimport Endpoint
from simcore.net.namespace cimport Namespace
from simcore.net.neighbourhood cimport neighbour_output
from simcore.net.qdisc.base cimport flow_hash
from simcore.net.ways cimport Way

cdef enum:
    STEERING = 0x5255               # key of the receive hash
    COLD_FROM = 1000                # connections that still fit the caches
    COLD_DECADES = 2                # until nothing does


@dataclass(frozen=True)
class Costs:
    """Nanoseconds of softirq time that a packet takes, by what it needs.

    Attributes
    ----------
    receive
        Every packet: the driver or veth, and ip_rcv.
    bridge, route, conntrack, nat
        Passing a bridge port; being forwarded; conntrack with the hooks; a connection that is translated.
    rule
        Each iptables rule that is looked at.
    new_flow
        A connection that is made.
    local
        Delivery to a socket.
    byte
        Each byte of the frame (copies, checksums).
    cold
        More for conntrack when the table has outgrown the caches: in full from 100 000 connections on, nothing to
        1 000, in between by the logarithm.
    """

    receive: float = 0.0
    bridge: float = 0.0
    route: float = 0.0
    conntrack: float = 0.0
    nat: float = 0.0
    rule: float = 0.0
    new_flow: float = 0.0
    local: float = 0.0
    byte: float = 0.0
    cold: float = 0.0

    def __post_init__(self):
        for f in fields(self):
            if not getattr(self, f.name) >= 0:
                raise ValueError(f"{f.name}: {getattr(self, f.name)} ns is no cost, expected 0 or more")


cdef class Cpu(Processor):
    """Cores that handle what a namespace receives, one packet at a time each.

    A packet waits in its core's backlog, is handled, and what comes of it leaves when its time has passed. Until then a
    connection that it opens through the host is not in the conntrack table: another core may be opening the same one, or
    taking the same port, and who comes to the table second has lost.
    What a host sends of its own accord (a socket's data, a timer) takes no time here.

    Parameters
    ----------
    namespace : Namespace
    costs : Costs
    cores : int
    backlog : int
        Packets that wait for a core (net.core.netdev_max_backlog); more are dropped, counted as "backlog".
    steering : {"rss", "shared"}
        "rss": a flow's packets go to one core, by hash; "shared": to whichever is free, from one queue.
    rng : numpy.random.Generator, optional
        Makes each packet's time exponential around its cost instead of exact.
    """

    def __cinit__(self, Namespace namespace, costs, int cores=1, uint32_t backlog=1000, str steering="rss", rng=None):
        cdef int i
        cdef uint32_t room = 16
        if cores < 1 or backlog < 1:
            raise ValueError(f"cpu: {cores} cores and a backlog of {backlog}: expected at least one of each")
        if steering not in ("rss", "shared"):
            raise ValueError(f"cpu: steering {steering!r}, expected 'rss' or 'shared'")
        self.namespace = namespace
        self.costs = costs
        self.price.receive = costs.receive * 1e-9
        self.price.bridge = costs.bridge * 1e-9
        self.price.route = costs.route * 1e-9
        self.price.conntrack = costs.conntrack * 1e-9
        self.price.nat = costs.nat * 1e-9
        self.price.rule = costs.rule * 1e-9
        self.price.new_flow = costs.new_flow * 1e-9
        self.price.local = costs.local * 1e-9
        self.price.byte = costs.byte * 1e-9
        self.price.cold = costs.cold * 1e-9
        self.cores = cores
        self.backlog = backlog
        self.shared = steering == "shared"
        self.variation = None if rng is None else Draws(rng)
        while room < backlog + 1:
            room *= 2
        self.mask = room - 1
        self.core = <Core*>calloc(cores, sizeof(Core))
        if self.core == NULL:
            raise MemoryError
        for i in range(1 if self.shared else cores):
            self.core[i].ring = <Waiting*>calloc(room, sizeof(Waiting))
            if self.core[i].ring == NULL:
                raise MemoryError
        namespace.cpu = self
        namespace.env.handlers.append(self)

    def __dealloc__(self):
        cdef int i
        cdef uint32_t k
        if self.core == NULL:
            return
        for i in range(self.cores):
            k = self.core[i].head
            while k != self.core[i].tail:
                frame_free(self.core[i].ring[k & self.mask].frame)
                k += 1
            for k in range(self.core[i].n_held):
                frame_free(self.core[i].held[k].frame)
                if self.core[i].held[k].kind == TO_SOCKET:
                    Py_DECREF(<object>self.core[i].held[k].to)
            free(self.core[i].ring)
            free(self.core[i].held)
        free(self.core)

    @property
    def stats(self):
        """Per core: packets handled, seconds busy until now, dropped, longest backlog."""
        cdef Core* c
        cdef int i
        out = []
        for i in range(self.cores):
            c = &self.core[i]
            out.append({"packets": c.packets, "dropped": c.dropped, "longest_backlog": c.longest,
                        "busy_s": c.busy_time - max(0.0, c.until - self.namespace.calendar.now)})
        return out

    cdef void offer(self, Frame* f, int port) noexcept:
        """A frame has arrived: to an idle core, or to the queue of the one it belongs to."""
        cdef int i = 0
        cdef Core* c
        cdef Core* idle = NULL
        if self.shared:
            for i in range(self.cores):
                if not self.core[i].busy:
                    self.enter(&self.core[i], f, port)
                    return
            i = 0
        elif self.cores > 1:
            i = <int>(flow_hash(f, STEERING) % <uint64_t>self.cores)
        c = &self.core[i]
        if not self.shared and not c.busy:
            self.enter(c, f, port)
            return
        if c.tail - c.head >= self.backlog:
            c.dropped += 1
            self.namespace.drop(f, NULL, "backlog")
            return
        c.ring[c.tail & self.mask].frame = f
        c.ring[c.tail & self.mask].port = port
        c.tail += 1
        if c.tail - c.head > c.longest:
            c.longest = c.tail - c.head

    cdef void begin(self, int core) noexcept:
        """A core is free: the next frame that waits for it."""
        cdef Core* queue = &self.core[0 if self.shared else core]
        cdef Waiting* w
        if queue.head == queue.tail:
            return
        w = &queue.ring[queue.head & self.mask]
        queue.head += 1
        self.enter(&self.core[core], w.frame, w.port)

    cdef void enter(self, Core* c, Frame* f, int port) noexcept:
        """Handle a frame now; its results wait until its time has passed."""
        cdef Netfilter nf = self.namespace.netfilter
        cdef uint64_t rules = 0, created = 0
        cdef uint32_t length = f.len
        cdef double cost, now = self.namespace.calendar.now
        if nf is not None:
            rules = nf.program.walked
            created = nf.c.stats.insert
        self.bridged = self.routed = self.tracked = self.natted = self.delivered = 0
        self.at = <int>(c - self.core)
        c.busy = True
        self.running = True
        if nf is not None:
            nf.unconfirmed = &c.unconfirmed
        self.namespace.process(f, port)
        self.running = False
        if nf is not None:
            nf.unconfirmed = NULL
            rules = nf.program.walked - rules
            created = nf.c.stats.insert - created + (c.unconfirmed.ct != 0)
        cost = self.cost(length, rules, created)
        if self.variation is not None:
            cost *= self.variation.exponential()
        c.packets += 1
        c.busy_time += cost
        c.until = now + cost
        self.namespace.calendar.at(c.until, self, self.at)

    cdef double cost(self, uint32_t length, uint64_t rules, uint64_t created) noexcept:
        cdef double s = self.price.receive + length * self.price.byte + rules * self.price.rule + created * self.price.new_flow
        cdef double decades
        s += self.bridged * self.price.bridge + self.routed * self.price.route + self.natted * self.price.nat
        s += self.delivered * self.price.local
        if self.tracked:
            s += self.tracked * self.price.conntrack
            if self.price.cold > 0 and self.namespace.netfilter.c.table.count > COLD_FROM:
                decades = log10(<double>self.namespace.netfilter.c.table.count / COLD_FROM)
                s += self.price.cold * min(decades / COLD_DECADES, 1.0)
        return s

    cdef Held* place(self, Frame* f, int kind) noexcept:
        cdef Core* c = &self.core[self.at]
        if c.n_held == c.room:
            c.room = c.room * 2 if c.room else 4
            c.held = <Held*>realloc(c.held, c.room * sizeof(Held))
            if c.held == NULL:
                abort()
        c.n_held += 1
        c.held[c.n_held - 1].frame = f
        c.held[c.n_held - 1].kind = kind
        return &c.held[c.n_held - 1]

    cdef void hold(self, Interface dev, Frame* f) noexcept:
        self.place(f, TO_WIRE).to = <void*>dev

    cdef void hold_output(self, Frame* f, const Way* w) noexcept:
        self.place(f, TO_NEIGHBOUR).way = w[0]

    cdef void hold_local(self, Endpoint e, Frame* f, uint32_t l4) noexcept:
        cdef Held* h = self.place(f, TO_SOCKET)
        h.to = <void*>e
        h.l4 = l4
        Py_INCREF(e)
        self.delivered += 1

    cdef void fire(self, uint64_t token) noexcept:
        """A packet's time has passed: what came of it leaves, and the next one begins."""
        cdef Core* c = &self.core[<int>token]
        cdef uint32_t k, n = c.n_held
        cdef Held* held = c.held
        cdef Endpoint e
        cdef bint passes = c.unconfirmed.ct == 0 or self.namespace.netfilter.confirm(&c.unconfirmed)
        c.held = NULL                       # a socket may answer at once, and that is not this packet's time
        c.n_held = c.room = 0
        for k in range(n):
            if not passes:
                self.namespace.drop(held[k].frame, NULL, "conntrack: insert failed")
            if held[k].kind == TO_SOCKET:
                e = <Endpoint>held[k].to
                if passes:
                    e.packet(held[k].frame, held[k].l4)
                Py_DECREF(e)
            elif passes and held[k].kind == TO_NEIGHBOUR:
                neighbour_output(self.namespace, &held[k].way, held[k].frame)
            elif passes:
                self.namespace.leave(<Interface>held[k].to, held[k].frame)
        if c.held == NULL:
            c.held = held
            c.room = n
        else:
            free(held)
        c.busy = False
        self.begin(<int>token)
