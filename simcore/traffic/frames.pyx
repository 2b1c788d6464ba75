"""Sources and sinks of bare frames: queues, links and qdiscs without an IP stack around them."""
import ipaddress

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from natfast.checksum cimport ip_checksum
from natfast.headers cimport put16, put32
from simcore.engine.draws cimport Draws
from simcore.engine.frame cimport Frame, frame_free, frame_new
from simcore.engine.histogram cimport Histogram
from simcore.net.device cimport Device

cdef enum:
    HEADERS = 42                        # Ethernet, IP, UDP


cdef class FrameSource(Device):
    """Sends UDP frames out of its port 0.

    Parameters
    ----------
    env : Environment
    name : str
    rate : float
        Frames per second, on average.
    size : float
        Bytes of a frame, on average.
    rng : numpy.random.Generator, optional
        Poisson arrivals drawn from it; without one the intervals are constant.
    exponential : bool
        Sizes are exponential (rounded to bytes, 1 at least) instead of constant.
    source, destination : str
        Addresses; `port` and `source_port` the UDP ports, `tos` the TOS field, `mark` skb->mark.
    start, stop : float
        Seconds.
    """
    cdef double gap, mean_size, stop
    cdef bint exponential
    cdef Draws draws
    cdef uint8_t head[HEADERS]
    cdef uint32_t mark
    cdef readonly uint64_t sent

    def __init__(self, env, str name, double rate, double size, rng=None, bint exponential=False, source="10.0.0.1",
                 destination="10.0.0.2", int port=9, int source_port=5000, int tos=0, uint32_t mark=0, double start=0.0,
                 double stop=float("inf")):
        Device.__init__(self, env, name)
        if rate <= 0 or size < 1:
            raise ValueError(f"source {name}: rate and size must be positive")
        if exponential and rng is None:
            raise ValueError(f"source {name}: exponential sizes need rng")
        self.add_port()
        self.gap = 1 / rate
        self.mean_size = size
        self.exponential = exponential
        self.draws = None if rng is None else Draws(rng)
        self.stop = stop
        self.mark = mark
        memset(self.head, 0, HEADERS)
        self.head[5] = 1
        self.head[11] = 2
        put16(self.head + 12, 0x0800)
        self.head[14] = 0x45
        self.head[15] = tos
        self.head[22] = 64
        self.head[23] = 17
        put32(self.head + 26, int(ipaddress.IPv4Address(source)))
        put32(self.head + 30, int(ipaddress.IPv4Address(destination)))
        put16(self.head + 34, source_port)
        put16(self.head + 36, port)
        self.calendar.at(start + self.interval(), self, 0)

    cdef double interval(self) noexcept:
        return self.gap if self.draws is None else self.gap * self.draws.exponential()

    cdef void fire(self, uint64_t token) noexcept:
        cdef Frame* f
        cdef double now = self.calendar.now
        cdef uint32_t n = <uint32_t>self.mean_size
        if now >= self.stop:
            return
        if self.exponential:
            n = <uint32_t>(self.mean_size * self.draws.exponential() + 0.5)
            n = 1 if n < 1 else n
        f = frame_new(HEADERS if n >= HEADERS else 0, n)
        if n >= HEADERS:
            memcpy(f.data, self.head, HEADERS)
            put16(f.data + 16, n - 14)
            put16(f.data + 38, n - 34)
            ip_checksum(f.data + 14)
        f.born = now
        f.mark = self.mark
        self.sent += 1
        self.send(0, f)
        self.calendar.at(now + self.interval(), self, 0)


cdef class FrameSink(Device):
    """Counts the frames that arrive at its ports, and how long they were on their way.

    Attributes
    ----------
    packets, bytes : int
    delays : Histogram
        Seconds since the frame was made.
    arrivals : list of tuple, or None unless `keep_arrivals`
        Time, length, mark and delay of each.
    """
    cdef readonly uint64_t packets
    cdef readonly uint64_t bytes
    cdef readonly Histogram delays
    cdef readonly list arrivals

    def __init__(self, env, str name, int ports=1, bint keep_arrivals=False):
        Device.__init__(self, env, name)
        self.delays = Histogram()
        self.arrivals = [] if keep_arrivals else None
        for _ in range(ports):
            self.add_port()

    cdef void receive(self, Frame* f, int port) noexcept:
        self.packets += 1
        self.bytes += f.len
        self.delays.record(self.calendar.now - f.born)
        if self.arrivals is not None:
            self.arrivals.append((self.calendar.now, f.len, f.mark, self.calendar.now - f.born))
        frame_free(f)


cdef class Reflector(Device):
    """Sends every frame back out of the port it came in by."""

    def __init__(self, env, str name, int ports=1):
        Device.__init__(self, env, name)
        for _ in range(ports):
            self.add_port()

    cdef void receive(self, Frame* f, int port) noexcept:
        self.send(port, f)

    def start(self, int port, int size=64):
        """Put a frame into play."""
        cdef Frame* f = frame_new(0, size)
        f.born = self.calendar.now
        self.send(port, f)
