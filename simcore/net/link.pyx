from libc.math cimport INFINITY
from libc.stdint cimport uint8_t
from libc.stdlib cimport abort, calloc, free, realloc

from simcore.engine.ahead cimport Trail, prefetch, trail_add
from simcore.engine.frame cimport Frame, frame_copy, frame_free
from simcore.net.device cimport Device, FrameRef, ref_of
from simcore.net.device import Inbox
from simcore.net.netem cimport Netem
from simcore.net.qdisc.base cimport Qdisc
from simcore.net.qdisc.fifo cimport Pfifo

cdef enum:                              # token: kind in two bits, then the stamp of its time, then a place in `flying`
    ARRIVAL = 0                         # of the ring's head
    SENT = 1                            # the transmitter is free
    WATCHDOG = 2                        # a shaper lets the next one go
    FLOWN = 3                           # arrival of a frame that may overtake

cdef enum:                              # what an event adds to its frame's place in the order
    AFTER_SENT = 1
    AFTER_WATCH = 2
    AFTER_COPY = 3

cdef enum:
    SLOTS_AHEAD = 16                    # of a long ring each slot is cold when its turn comes

cdef enum:
    KIND = 3                            # the bits of it
    NEXT_STAMP = 4                      # when the wire is cut, what is under way becomes void


def link_process(Link link, inbox):
    """One direction of a wire as a SimPy process."""
    cdef FrameRef r
    cdef Frame* f
    while True:
        item = yield inbox.get()
        if isinstance(item, FrameRef):
            r = <FrameRef>item
            f, r.frame = r.frame, NULL
            link.accept(f, r.token)
        else:
            link.apply(item)


cdef inline void prefetch_frame(const Frame* f) noexcept nogil:
    prefetch(f)
    prefetch(<const char*>f + 64)
    prefetch(<const char*>f + 128)


cdef inline void put(Link link, double start, double arrive, uint64_t seq, Frame* f) noexcept:
    """Settle a frame's arrival: the last of the ring, and never before the one ahead of it."""
    cdef Slot* s
    cdef double before
    if link.tail - link.head > link.mask:
        link.grow()
    if link.tail == link.head:
        link.announce(arrive, seq)
    else:
        before = link.ring[(link.tail - 1) & link.mask].arrive
        if arrive < before:                     # the latency was shortened meanwhile
            arrive = before
    s = &link.ring[link.tail & link.mask]
    s.start = start
    s.arrive = arrive
    s.seq = seq
    s.frame = f
    link.tail += 1


cdef class Link(Wire):
    """One direction of a wire.

    A drop-tail link without impairments knows a frame's departure when it takes it, so a frame costs one
    event, its arrival, and only the next arrival stands in the calendar. With a `qdisc` or `netem` the
    transmitter asks for the next frame when it is free: two events a frame.

    Parameters
    ----------
    rate : float
        bit/s of whole frames; 0 for no limit.
    latency : float
        Seconds.
    limit : int
        Frames that may wait besides the one being sent; what a qdisc holds is its own affair.
    qdisc : Qdisc, optional
    netem : Netem, optional
    """

    def __cinit__(self, env, str name, Device sink, int sink_port, double rate=0.0, double latency=0.0, uint32_t limit=1000,
                  Qdisc qdisc=None, Netem netem=None):
        if rate < 0 or latency < 0 or limit < 1:
            raise ValueError(f"link {name}: rate and latency cannot be negative, and one frame must fit into the queue")
        self.name = name
        self.calendar = env.calendar
        env.handlers.append(self)
        self.sink = sink
        self.sink_port = sink_port
        self.rate = rate
        self.latency = latency
        self.limit = limit
        self.netem = netem
        self.qdisc = Pfifo(limit) if qdisc is None and netem is not None else qdisc
        self.up = True
        self.watch = INFINITY
        self.ring = &self.one
        self.inbox = None
        if self.calendar.simpy_driven:
            self.inbox = Inbox(env)
            env.process(link_process(self, self.inbox))
        self.update_plain()

    def __dealloc__(self):
        cdef uint32_t i = self.head
        while i != self.tail:
            frame_free(self.ring[i & self.mask].frame)
            i += 1
        for i in range(self.n_flying):
            if self.flying[i] != NULL:
                frame_free(self.flying[i])
        self.free_ring()
        free(self.flying)
        free(self.spare)

    cdef void update_plain(self) noexcept:
        self.plain = self.up and self.qdisc is None and self.inbox is None and self.watched is None

    # --- what can be read --------------------------------------------------------------------------

    @property
    def delays(self):
        """Histogram of the seconds that frames have waited; None unless one was put here."""
        return self.watched

    @delays.setter
    def delays(self, Histogram delays):
        self.watched = delays
        self.update_plain()

    @property
    def dropped(self):
        """Frames that the queue did not take, or threw out."""
        return self.tail_dropped + (self.qdisc.dropped if self.qdisc is not None else 0)

    @property
    def in_flight(self):
        """Frames queued, being sent, or on the wire."""
        return self.tail - self.head + self.n_flying - self.n_spare + (self.qdisc.packets if self.qdisc is not None else 0)

    @property
    def queued(self):
        """Frames waiting for service now."""
        cdef uint32_t i = self.waiting
        if self.qdisc is not None:
            return self.qdisc.packets
        while i != self.tail and self.ring[i & self.mask].start <= self.calendar.now:
            i += 1
        return self.tail - i

    @property
    def queue_seconds(self):
        """Integral of the number of waiting frames over time until now, exact; divided by the time, the mean queue."""
        cdef uint32_t i = self.waiting
        cdef double s = self.waited
        if self.qdisc is not None:
            self.integrate()
            return self.area
        while i != self.tail:
            if self.ring[i & self.mask].start > self.calendar.now:
                s -= self.ring[i & self.mask].start - self.calendar.now
            i += 1
        return s

    @property
    def busy_seconds(self):
        """Time that the transmitter has been sending until now; divided by the time, the utilisation."""
        return self.sending_time() - (self.free_at - self.calendar.now if self.free_at > self.calendar.now else 0.0)

    cdef double sending_time(self) noexcept:
        """Of all that was counted."""
        return self.busy + ((self.bytes - self.busy_bytes) * 8.0 / self.rate if self.rate > 0 else 0.0)

    # --- what can be changed while it runs ---------------------------------------------------------

    def set(self, **changes):
        """Change `rate`, `latency`, `limit`, `qdisc` or `netem` now.

        The frame being sent finishes at the old rate; frames that wait are sent at the new one; those on the
        wire arrive as they would have. `qdisc` and `netem` take objects, or None for `netem`.
        """
        unknown = set(changes) - {"rate", "latency", "limit", "qdisc", "netem"}
        if unknown:
            raise TypeError(f"link {self.name}: cannot set {', '.join(sorted(unknown))}; rate, latency, limit, qdisc and netem can be")
        for key in ("rate", "latency"):
            if changes.get(key, 0) < 0:
                raise ValueError(f"link {self.name}: {key} {changes[key]} is negative")
        if changes.get("limit", 1) < 1:
            raise ValueError(f"link {self.name}: limit {changes['limit']}: one frame must fit into the queue")
        self._do(changes)

    def reconnect(self, Device sink not None, int port):
        """Let the link end at another device; what is on the wire arrives there."""
        self.sink = sink
        self.sink_port = port

    def down(self):
        """Cut the wire: what waits or is on it is lost, and so is what is sent until `up_again`."""
        self._do(False)

    def up_again(self):
        """Mend the wire."""
        self._do(True)

    def _do(self, action):
        # with the SimPy engine frames sent just before may still be in the inbox: changes keep their place behind them
        if self.inbox is None:
            self.apply(action)
        else:
            self.inbox.put(action)

    cdef void apply(self, object action) noexcept:
        cdef Slot* s
        cdef Frame* f
        cdef uint32_t i, first
        cdef double now = self.calendar.now
        cdef list held = []
        if action is True:
            self.up = True
            self.update_plain()
            return
        if action is False:
            self.up = False
            self.update_plain()
            self.stamp += NEXT_STAMP
            while self.head != self.tail:
                s = &self.ring[self.head & self.mask]
                if self.qdisc is None and s.start > now:
                    self.waited -= s.start - now
                frame_free(s.frame)
                self.head += 1
                self.lost += 1
            self.waiting = self.tail
            for i in range(self.n_flying):
                if self.flying[i] != NULL:
                    frame_free(self.flying[i])
                    self.flying[i] = NULL
                    self.spare[self.n_spare] = i
                    self.n_spare += 1
                    self.lost += 1
            if self.qdisc is not None:
                self.integrate()
                self.lost += self.qdisc.packets
                self.qdisc.clear()
            if self.free_at > now:
                self.busy -= self.free_at - now
                self.free_at = now
            self.sending = False
            self.watch = INFINITY
            return
        # take back what has not begun; it is queued anew under the new settings
        if self.qdisc is None:
            while self.waiting != self.tail and self.ring[self.waiting & self.mask].start <= now:
                self.waiting += 1
            first = self.waiting
            if first != self.tail:
                self.free_at = self.ring[first & self.mask].start
            for i in range(first, self.tail):
                s = &self.ring[i & self.mask]
                self.waited -= s.start - s.frame.queued_at
                self.packets -= 1
                self.bytes -= s.frame.len
                s.frame.seq = s.seq
                held.append(ref_of(s.frame, s.seq))
            self.tail = first
        for key, value in action.items():
            if key == "rate":
                self.busy = self.sending_time()
                self.busy_bytes = self.bytes
                self.rate = value
            elif key == "latency":
                self.latency = value
            elif key == "limit":
                self.limit = value
                if self.qdisc is not None and type(self.qdisc) is Pfifo:
                    (<Pfifo>self.qdisc).limit = value
            elif key == "netem":
                self.netem = value
            else:                               # as tc: what the old qdisc holds is thrown away
                self.integrate()
                if self.qdisc is not None:
                    self.lost += self.qdisc.packets
                    self.qdisc.clear()
                    self.tail_dropped += self.qdisc.dropped
                else:
                    self.area = self.waited
                self.qdisc = value
        if self.qdisc is None and self.netem is not None:
            self.qdisc = Pfifo(self.limit)
            self.area = self.waited
            self.area_until = now
        self.update_plain()
        if self.qdisc is not None and self.free_at > now and not self.sending:
            self.sending = True                 # the ring's last is the one being sent
            self.calendar.push(self.free_at, self.ring[(self.tail - 1) & self.mask].seq | AFTER_SENT, self, SENT | self.stamp)
        for ref in held:
            f, (<FrameRef>ref).frame = (<FrameRef>ref).frame, NULL
            if "qdisc" in action:
                self.lost += 1
                frame_free(f)
            else:
                self.take_back(f)
        if self.qdisc is not None:
            self.transmit()

    cdef void take_back(self, Frame* f) noexcept:
        """Queue a frame again that has waited here before."""
        cdef double now = self.calendar.now
        cdef double start = now if now > self.free_at else self.free_at
        if self.qdisc is not None:
            self.last_seq = f.seq
            self.qdisc.enqueue(f, now)
            return
        if start > now and self.tail - self.waiting >= self.limit:
            self.tail_dropped += 1
            frame_free(f)
            return
        self.waited += start - f.queued_at
        self.count(f, start)
        put(self, start, (self.free_at if self.rate > 0 else now) + self.latency, f.seq, f)

    # --- taking frames -----------------------------------------------------------------------------

    cdef void send(self, Frame* f) noexcept:
        # the place in the order is taken here, whoever drives; what follows from it must not take another
        if self.plain or self.inbox is None:
            self.accept(f, self.calendar.next_seq())
        else:
            self.send_later(f)

    cdef void send_later(self, Frame* f) noexcept:
        self.inbox.put(ref_of(f, self.calendar.next_seq()))

    cdef inline void count(self, Frame* f, double start) noexcept:
        self.packets += 1
        self.bytes += f.len
        if self.rate > 0:
            self.free_at = start + f.len * 8.0 / self.rate

    cdef void accept(self, Frame* f, uint64_t seq) noexcept:
        cdef double now = self.calendar.now, start = now
        f.queued_at = now
        if not self.plain:
            if not self.up:
                self.lost += 1
                frame_free(f)
                return
            if self.qdisc is not None:
                f.seq = seq
                self.accept_queued(f)
                return
        if self.free_at > now:
            start = self.free_at
            while self.waiting != self.tail and self.ring[self.waiting & self.mask].start <= now:
                self.waiting += 1
            if self.tail - self.waiting >= self.limit:
                self.tail_dropped += 1
                frame_free(f)
                return
            self.waited += start - now
        else:
            self.waiting = self.tail                # all before it have begun
        if not self.plain and self.watched is not None:
            self.watched.record(start - now)
        self.count(f, start)
        put(self, start, (self.free_at if self.rate > 0 else now) + self.latency, seq, f)

    cdef void announce(self, double arrive, uint64_t seq) noexcept:
        """The arrival of the ring's head stands in the calendar."""
        self.calendar.push(arrive, seq, self, ARRIVAL | self.stamp)

    cdef void free_ring(self) noexcept:
        if self.ring != &self.one:
            free(self.ring)

    cdef void grow(self) noexcept:
        cdef uint32_t old = self.mask + 1, i
        cdef Slot* ring = <Slot*>calloc(2 * old, sizeof(Slot))
        if ring == NULL:
            abort()
        for i in range(self.head, self.tail):
            ring[i & (2 * old - 1)] = self.ring[i & self.mask]
        self.free_ring()
        self.ring = ring
        self.mask = 2 * old - 1

    cdef void trail(self, const uint8_t* frame, Trail* t) noexcept:
        trail_add(t, <void*>self, <char*>(&self.one + 1) - <char*><void*>self)
        if self.ring != &self.one:
            trail_add(t, &self.ring[self.tail & self.mask], sizeof(Slot))
        self.sink.trail(frame, self.sink_port, t)

    cdef void prepare(self) noexcept:
        if self.head != self.tail:
            prefetch_frame(self.ring[self.head & self.mask].frame)
            prefetch(&self.sink.at_port[self.sink_port])

    cdef void fire(self, uint64_t token) noexcept:
        cdef const Slot* s
        cdef Frame* f
        cdef uint32_t head
        if token != (ARRIVAL | self.stamp):
            self.turn(token)
            return
        head = self.head
        f = self.ring[head & self.mask].frame
        head += 1
        self.head = head
        if <int>(self.waiting - head) < 0:
            self.waiting = head
        if head != self.tail:
            s = &self.ring[head & self.mask]
            self.announce(s.arrive, s.seq)
            if self.tail - head > 1:                # whoever arrives next but one, and where it is written who comes long after
                prefetch_frame(self.ring[(head + 1) & self.mask].frame)
                prefetch(&self.ring[(head + SLOTS_AHEAD) & self.mask])
        if self.sink.inbox is None:
            self.sink.receive(f, self.sink_port)
        else:
            self.sink.deliver(f, self.sink_port)

    cdef void turn(self, uint64_t token) noexcept:
        """Any event but the arrival of the ring's head."""
        cdef Frame* f
        cdef uint32_t kind = token & KIND, place
        if <uint32_t>token & ~<uint32_t>KIND != self.stamp:
            return                                  # the wire was cut since
        if kind == FLOWN:
            place = <uint32_t>(token >> 32)
            f = self.flying[place]
            self.flying[place] = NULL
            self.spare[self.n_spare] = place
            self.n_spare += 1
            self.sink.deliver(f, self.sink_port)
        elif kind == SENT:
            self.sending = False
            self.transmit()
        elif self.watch == self.calendar.now:
            self.watch = INFINITY
            self.transmit()

    # --- with a qdisc ------------------------------------------------------------------------------

    cdef void integrate(self) noexcept:
        if self.qdisc is not None:
            self.area += self.qdisc.packets * (self.calendar.now - self.area_until)
        self.area_until = self.calendar.now

    cdef void accept_queued(self, Frame* f) noexcept:
        self.integrate()
        self.last_seq = f.seq
        self.qdisc.enqueue(f, self.calendar.now)
        if not self.sending:
            self.transmit()

    cdef void transmit(self) noexcept:
        """Send the qdisc's next frame, if the transmitter is free and there is one; all of them without a rate."""
        cdef Frame* f
        cdef double now = self.calendar.now, ready
        cdef uint64_t seq
        while not self.sending:
            if self.qdisc.packets == 0:
                return
            self.integrate()
            f = self.qdisc.dequeue(now)
            if f == NULL:
                ready = self.qdisc.ready(now)
                if ready < self.watch and ready < INFINITY:
                    self.watch = ready
                    self.calendar.push(ready, self.last_seq | AFTER_WATCH, self, WATCHDOG | self.stamp)
                return
            if self.watched is not None:
                self.watched.record(now - f.queued_at)
            self.waited += now - f.queued_at
            self.count(f, now)
            seq = f.seq
            if self.rate > 0:
                self.sending = True
                self.calendar.push(self.free_at, seq | AFTER_SENT, self, SENT | self.stamp)
                self.depart(f, self.free_at)
            else:
                self.depart(f, now)

    cdef void depart(self, Frame* f, double now) noexcept:
        """A frame's last bit leaves at `now`: what the wire does to it."""
        cdef Netem n = self.netem
        cdef Frame* g
        if n is None:
            put(self, now, now + self.latency, f.seq, f)
            self.waiting = self.tail
            return
        if n.loses():
            self.lost += 1
            frame_free(f)
            return
        if n.duplicate > 0 and n.draws.uniform() < n.duplicate:
            g = frame_copy(f)
            self.onto_wire(g, f.seq | AFTER_COPY, now)
        self.onto_wire(f, f.seq, now)

    cdef void onto_wire(self, Frame* f, uint64_t seq, double time) noexcept:
        cdef Netem n = self.netem
        cdef uint32_t place, room
        if n.corrupt > 0 and n.draws.uniform() < n.corrupt:
            n.flip(f)
        time += n.delay(self.latency)
        if n.keeps_order:
            put(self, time, time, seq, f)
            self.waiting = self.tail
            return
        if self.n_spare == 0:
            room = 2 * self.n_flying if self.n_flying else 16
            self.flying = <Frame**>realloc(self.flying, room * sizeof(Frame*))
            self.spare = <uint32_t*>realloc(self.spare, room * sizeof(uint32_t))
            if self.flying == NULL or self.spare == NULL:
                abort()
            for place in range(self.n_flying, room):
                self.flying[place] = NULL
                self.spare[self.n_spare] = place
                self.n_spare += 1
            self.n_flying = room
        self.n_spare -= 1
        place = self.spare[self.n_spare]
        self.flying[place] = f
        self.calendar.push(time, seq, self, FLOWN | self.stamp | <uint64_t>place << 32)


def wire(env, Device a, int port_a, Device b, int port_b, rate=0.0, latency=0.0, limit=1000, rate_back=None, limit_back=None):
    """Connect two ports by a link each way; returns both, a to b first."""
    there = Link(env, f"{a.name}->{b.name}", b, port_b, rate, latency, limit)
    back = Link(env, f"{b.name}->{a.name}", a, port_a, rate if rate_back is None else rate_back, latency,
                limit if limit_back is None else limit_back)
    plug(a, port_a, there)
    plug(b, port_b, back)
    return there, back


def plug(Device device, int port, Link link):
    """Let a device's port send into a link.

    Raises
    ------
    ValueError
        If something is plugged in already, or there is no such port.
    """
    device.check_port(port)
    if device.ports[port] is not None:
        raise ValueError(f"{device.name}: port {port} is wired already")
    device.attach(port, link)
