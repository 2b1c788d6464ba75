"""UDP sources and sinks that never touch Python per packet."""
import ipaddress

from libc.math cimport log
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from natfast.checksum cimport fold, pseudo_sum, sum_bytes
from natfast.headers cimport IPPROTO_UDP, put16, put32
from simcore.engine.calendar cimport Handler
from simcore.engine.frame cimport Frame, frame_free
from simcore.net.namespace cimport Endpoint, Namespace

cdef enum:
    L4 = 34
    DRAWS = 4096


cdef class UdpSource(Handler):
    """Sends datagrams of one size from one socket to one place, Poisson or at a constant rate.

    Parameters
    ----------
    namespace : Namespace
    address, port : destination
    source_port : int
    rate : float
        Packets per second, on average.
    size : int
        Bytes on the wire, Ethernet header included (42 at least).
    rng : numpy.random.Generator or None
        Poisson arrivals drawn from it; constant intervals if None.
    start, stop : float
        Seconds.
    """
    cdef Namespace ns
    cdef uint32_t dst, src, size
    cdef uint16_t port, source_port
    cdef double mean, stop
    cdef object rng
    cdef double[::1] draws
    cdef int drawn
    cdef readonly uint64_t sent

    def __init__(self, Namespace namespace, str address, int port, int source_port, double rate, int size, rng=None,
                 double start=0.0, double stop=float("inf")):
        if size < 42 or size > 1514:
            raise ValueError(f"size {size}: expected 42 to 1514 bytes on the wire")
        if rate <= 0:
            raise ValueError(f"rate {rate}: expected more than 0 packets per second")
        self.ns = namespace
        namespace.env.handlers.append(self)
        self.dst = int(ipaddress.IPv4Address(address))
        self.src = namespace.source_for(self.dst)
        if self.src == 0:
            raise ValueError(f"{namespace.name} has no route to {address}")
        self.port = port
        self.source_port = source_port
        self.mean = 1.0 / rate
        self.size = size
        self.rng = rng
        self.stop = stop
        self.drawn = DRAWS
        namespace.calendar.at(start + self.gap(), self, 0)

    cdef double gap(self) noexcept:
        if self.rng is None:
            return self.mean
        if self.drawn == DRAWS:
            self.draws = self.rng.standard_exponential(DRAWS)
            self.drawn = 0
        self.drawn += 1
        return self.draws[self.drawn - 1] * self.mean

    cdef void fire(self, uint64_t token) noexcept:
        cdef Frame* f
        cdef uint8_t* u
        cdef uint32_t n = self.size - L4
        cdef uint16_t check
        if self.ns.calendar.now >= self.stop:
            return
        f = self.ns.new_packet(8, n, IPPROTO_UDP, self.src, self.dst, 0, 64, 0x4000)
        u = f.data + L4
        put16(u, self.source_port)
        put16(u + 2, self.port)
        put16(u + 4, n)
        put16(u + 6, 0)
        check = <uint16_t>~fold(sum_bytes(u, 8) + pseudo_sum(f.data + 14, IPPROTO_UDP, n))
        put16(u + 6, check if check != 0 else 0xFFFF)
        f.checksum_ok = 1
        self.sent += 1
        self.ns.local_out(f)
        self.ns.calendar.at(self.ns.calendar.now + self.gap(), self, 0)


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
        namespace.register(self)

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
