"""One direction of a wire: a queue, a rate, a latency, and what goes wrong on it."""
cimport cython
from libc.stdint cimport uint32_t, uint64_t
from simcore.engine.calendar cimport Calendar
from simcore.engine.frame cimport Frame
from simcore.engine.histogram cimport Histogram
from simcore.net.device cimport Device, Wire
from simcore.net.netem cimport Netem
from simcore.net.qdisc.base cimport Qdisc

ctypedef struct Slot:
    double start                        # service begins
    double arrive
    uint64_t seq
    Frame* frame

@cython.final
cdef class Link(Wire):
    # what every frame touches, side by side
    cdef readonly Calendar calendar
    cdef readonly Device sink
    cdef readonly int sink_port
    cdef bint plain                     # up, drop-tail, driven by the calendar, and nobody watches: most are, always
    cdef uint32_t stamp                 # of events since the wire was cut last; those before it are void
    cdef uint32_t mask
    cdef uint32_t head
    cdef uint32_t tail
    cdef uint32_t waiting               # first slot whose service has not begun
    cdef readonly uint32_t limit        # packets that may wait, the one in service not counted
    cdef Slot* ring                     # frames whose way is settled, in order of arrival
    cdef readonly double rate           # bit/s, 0: infinite
    cdef readonly double latency        # s
    cdef double free_at
    cdef public uint64_t packets
    cdef public uint64_t bytes
    cdef Slot one                       # the ring, as long as it need not be longer
    cdef public double waited           # s, summed over packets
    # the rest
    cdef double busy                    # s, until the rate was set last, ...
    cdef uint64_t busy_bytes            # ... when so many had been counted
    cdef readonly bint up
    cdef bint sending
    cdef readonly Qdisc qdisc           # None: drop-tail, with departures known on arrival
    cdef object inbox
    cdef Histogram watched
    cdef readonly str name
    cdef readonly Netem netem           # None: a clean wire
    cdef Frame** flying                 # frames that may overtake each other: each has an event of its own
    cdef uint32_t* spare                # stack of free places in `flying`
    cdef uint32_t n_spare
    cdef uint32_t n_flying
    cdef uint64_t last_seq              # of the frame that the qdisc took last
    cdef double watch                   # time of the watchdog's event, infinity if none
    cdef double area                    # packets waiting x s, when a qdisc holds them
    cdef double area_until
    cdef uint64_t tail_dropped
    cdef public uint64_t lost           # by the wire, or cut off
    cdef void grow(self) noexcept
    cdef void free_ring(self) noexcept
    cdef void announce(self, double arrive, uint64_t seq) noexcept
    cdef void accept(self, Frame* f, uint64_t seq) noexcept
    cdef void update_plain(self) noexcept
    cdef double sending_time(self) noexcept
    cdef void accept_queued(self, Frame* f) noexcept
    cdef void integrate(self) noexcept
    cdef void transmit(self) noexcept
    cdef void depart(self, Frame* f, double now) noexcept
    cdef void onto_wire(self, Frame* f, uint64_t seq, double time) noexcept
    cdef void count(self, Frame* f, double start) noexcept
    cdef void send_later(self, Frame* f) noexcept
    cdef void turn(self, uint64_t token) noexcept
    cdef void take_back(self, Frame* f) noexcept
    cdef void apply(self, object action) noexcept
