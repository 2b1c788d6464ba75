"""UDP sources and sinks that never touch Python per packet."""
import ipaddress

cimport numpy as cnp
import numpy as np

from libc.string cimport memcpy
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from natfast.checksum cimport fold, pseudo_sum, sum_bytes
from natfast.headers cimport IPPROTO_UDP, ip_dst, ip_src, put16, put32
from simcore.engine.ahead cimport Trail, prefetch, trail_follow, trail_is_due
from simcore.engine.calendar cimport Handler
from simcore.engine.draws cimport BATCH, Draws
from simcore.engine.frame cimport CHECKSUM_RIGHT, IP, L4, Frame, frame_free
from simcore.net.endpoints cimport Endpoint
from simcore.net.namespace cimport Namespace, ask_for_sender
from simcore.net.ways cimport KeptWay

cnp.import_array()


cdef class Datagrams(Handler):
    """One socket's worth of addresses, and the datagrams it sends."""
    cdef Namespace ns
    cdef readonly uint64_t sent
    cdef uint32_t size_made
    cdef uint8_t header[L4 + 8]             # that all datagrams of a size share, but for the identification, which counts
    cdef KeptWay way

    def __init__(self, Namespace namespace, str address, int port, int source_port):
        self.ns = namespace
        namespace.env.handlers.append(self)
        cdef uint32_t dst = int(ipaddress.IPv4Address(address)), src = namespace.source_for(dst)
        if src == 0:
            raise ValueError(f"{namespace.name} has no route to {address}")
        put32(self.header + IP + 12, src)
        put32(self.header + IP + 16, dst)
        put16(self.header + L4, source_port)
        put16(self.header + L4 + 2, port)

    cdef void send(self, uint32_t size) noexcept:
        """A datagram of `size` bytes on the wire, zeros after its header."""
        cdef Frame* f
        if size != self.size_made:
            self.make(size)
        f = self.ns.repeat_packet(self.header, L4 + 8, size)
        f.checksum_ok = CHECKSUM_RIGHT
        self.sent += 1
        self.ns.send_again(f, self.header, &self.way)

    cdef void make(self, uint32_t size) noexcept:
        """The headers of datagrams of this size."""
        cdef uint32_t n = size - L4
        cdef uint8_t* ip = self.header + IP
        cdef Frame* f = self.ns.new_packet(8, n, IPPROTO_UDP, ip_src(ip), ip_dst(ip), 0, 0, 0x4000)
        cdef uint8_t* u = f.data + L4
        cdef uint16_t check
        memcpy(u, self.header + L4, 4)
        put16(u + 4, n)
        put16(u + 6, 0)
        check = <uint16_t>~fold(sum_bytes(u, 8) + pseudo_sum(f.data + 14, IPPROTO_UDP, n))
        put16(u + 6, check if check != 0 else 0xFFFF)
        memcpy(self.header, f.data, L4 + 8)
        self.way.until = 0                  # the MACs are none yet
        self.size_made = size
        self.ns.ip_id -= 1                  # this one is not sent
        frame_free(f)


cdef class UdpSource(Datagrams):
    """Sends datagrams of one size from one socket to one place.

    Parameters
    ----------
    namespace : Namespace
    address, port : destination
    source_port : int
    rate : float
        Packets per second, on average; while on, if there are pauses.
    size : int
        Bytes on the wire, Ethernet header included (42 at least).
    rng : numpy.random.Generator or None
        Poisson arrivals drawn from it; constant intervals if None.
    start, stop : float
        Seconds.
    on, off : Distribution, optional
        Seconds of sending and of silence in turn (on/off; Pareto lengths make the sum self-similar); need `pauses`.
    pauses : numpy.random.Generator, optional
        What `on` and `off` are drawn from.
    """
    # what every datagram touches: with the beginning of the trail, and the above, four cache lines
    cdef uint32_t size
    cdef double mean, stop
    cdef double until                       # the end of this period of sending
    cdef const double* upcoming             # the next draw ...
    cdef const double* drawn                # ... and behind the last of those made; NULL if intervals are constant
    cdef Trail trail
    # the rest
    cdef Draws draws
    cdef object on, off, pauses

    def __init__(self, Namespace namespace, str address, int port, int source_port, double rate, int size, rng=None,
                 double start=0.0, double stop=float("inf"), on=None, off=None, pauses=None):
        if size < 42 or size > 1514:
            raise ValueError(f"size {size}: expected 42 to 1514 bytes on the wire")
        if rate <= 0:
            raise ValueError(f"rate {rate}: expected more than 0 packets per second")
        if (on is None) != (off is None) or on is not None and pauses is None:
            raise ValueError("expected on and off together, and a generator for them")
        Datagrams.__init__(self, namespace, address, port, source_port)
        self.mean = 1.0 / rate
        self.size = size
        if rng is not None:
            self.draws = Draws(rng)
            self.draw()
        self.stop = stop
        self.on = on
        self.off = off
        self.pauses = pauses
        self.until = float("inf") if on is None else start + float(on.sample(pauses, 1)[0])
        namespace.calendar.at(self.next(start), self, 0)

    cdef void draw(self) noexcept:
        self.upcoming = self.draws.exponentials()
        self.drawn = self.upcoming + BATCH

    cdef double next(self, double now) noexcept:
        """When the next datagram is due; a period of silence puts it off."""
        cdef double at = now + self.mean, over
        if self.drawn != NULL:
            if self.upcoming == self.drawn:
                self.draw()
            at = now + self.mean * self.upcoming[0]
            self.upcoming += 1
        while at > self.until:
            over = at - self.until
            at = self.until + <double>self.off.sample(self.pauses, 1)[0]
            self.until = at + <double>self.on.sample(self.pauses, 1)[0]
            at += over
        return at

    cdef void prepare(self) noexcept:
        if trail_is_due(&self.trail):
            self.ns.trail_again(self.header, &self.way, &self.trail)
        ask_for_sender(<void*>self.ns, &self.way)
        trail_follow(&self.trail)
        prefetch(self.upcoming)

    cdef void fire(self, uint64_t token) noexcept:
        if self.ns.calendar.now >= self.stop:
            return
        self.send(self.size)
        self.ns.calendar.at(self.next(self.ns.calendar.now), self, 0)


cdef class TraceSource(Datagrams):
    """Sends datagrams at given times with given sizes.

    Parameters
    ----------
    times : array_like of float64
        Seconds from `start` on, ascending.
    sizes : array_like of int
        Bytes on the wire; below 42 and above 1514 are brought to the limit.
    """
    cdef object owned           # the arrays that these are the numbers of
    cdef const double* times
    cdef const int64_t* sizes
    cdef double start
    cdef Py_ssize_t at
    cdef Py_ssize_t count

    def __init__(self, Namespace namespace, str address, int port, int source_port, times, sizes, double start=0.0):
        times = np.ascontiguousarray(times, dtype=np.float64)
        sizes = np.ascontiguousarray(np.clip(np.asarray(sizes, dtype=np.int64), 42, 1514))
        if len(times) != len(sizes):
            raise ValueError(f"{len(times)} times for {len(sizes)} sizes")
        if len(times) == 0 or np.any(np.diff(times) < 0) or times[0] < 0:
            raise ValueError("a trace needs at least one packet, and times from 0 on that do not go back")
        self.owned = (times, sizes)
        self.times = <const double*>cnp.PyArray_DATA(times)
        self.sizes = <const int64_t*>cnp.PyArray_DATA(sizes)
        self.count = len(times)
        Datagrams.__init__(self, namespace, address, port, source_port)
        self.start = start
        namespace.calendar.at(start + self.times[0], self, 0)

    cdef void fire(self, uint64_t token) noexcept:
        self.send(<uint32_t>self.sizes[self.at])
        self.at += 1
        if self.at < self.count:
            self.ns.calendar.at(self.start + self.times[self.at], self, 0)


cdef class UdpSink(Endpoint):
    """Counts what arrives at a UDP port, with its one-way delay."""
    cdef Namespace ns
    cdef readonly uint64_t packets
    cdef readonly uint64_t bytes
    cdef readonly double delay_sum
    cdef readonly double delay_max
    cdef readonly double delay_min

    def __init__(self, Namespace namespace, int port):
        self.ns = namespace
        self.protocol = IPPROTO_UDP
        self.local_port = port
        self.delay_min = float("inf")
        namespace.sockets.register(self)

    @property
    def mean_delay(self):
        """Seconds, None before the first packet."""
        return self.delay_sum / self.packets if self.packets else None

    cdef void packet(self, Frame* f, uint32_t l4) noexcept:
        cdef double delay = self.ns.calendar.now - f.born
        self.packets += 1
        self.bytes += f.len
        self.delay_sum += delay
        if delay > self.delay_max:
            self.delay_max = delay
        if delay < self.delay_min:
            self.delay_min = delay
        frame_free(f)
