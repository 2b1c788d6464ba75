from libc.math cimport INFINITY
from libc.stdint cimport uint8_t, uint16_t

from natfast.checksum cimport replace2
from natfast.headers cimport (ETH_P_IP, IPPROTO_DCCP, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, be16, be32, ip_dst, ip_frag, ip_ihl, ip_src,
                              put16)
from natfast.siphash cimport siphash13
from simcore.engine.frame cimport IP, frame_free

EPS = 1e-10


cdef bint ecn_mark(Frame* f) noexcept nogil:
    """Set CE if the packet's ends understand ECN (RFC 3168 5); False if they don't."""
    cdef uint8_t* ip = f.data + IP
    cdef uint16_t old
    if f.have < IP + 20 or be16(f.data + 12) != ETH_P_IP or ip[1] & 3 == 0:
        return False
    old = be16(ip)
    ip[1] |= 3
    put16(ip + 10, replace2(be16(ip + 10), old, be16(ip)))
    return True


cdef uint64_t flow_hash(const Frame* f, uint64_t seed) noexcept nogil:
    """Keyed hash of addresses, protocol and ports; fragments go by addresses alone."""
    cdef const uint8_t* ip = f.data + IP
    cdef uint64_t ports = 0
    cdef uint32_t l4
    if f.have < IP + 20 or be16(f.data + 12) != ETH_P_IP:
        return siphash13(be16(f.data + 12), be32(f.data + 6), seed, 0)
    l4 = IP + ip_ihl(ip)
    if (ip_frag(ip) & 0x3FFF == 0 and f.have >= l4 + 4 and (ip[9] == IPPROTO_TCP or ip[9] == IPPROTO_UDP or ip[9] == IPPROTO_SCTP
                                                             or ip[9] == IPPROTO_DCCP)):
        ports = be32(f.data + l4)
    return siphash13(<uint64_t>ip_src(ip) << 32 | ip_dst(ip), ports << 8 | ip[9], seed, 0)


cdef class Qdisc:
    """A queue discipline.

    A link calls `enqueue` when a frame comes and `dequeue` when its transmitter is free; both are told the
    time. A shaper that holds frames back answers NULL and says in `ready` when to ask again.

    Attributes
    ----------
    packets, bytes : int
        Held now.
    dropped, marked, overlimits : int
        Frames thrown away; frames marked CE instead; times that a shaper held a frame back.
    """

    cdef bint enqueue(self, Frame* f, double now) noexcept:
        """Take ownership of a frame; False if it was dropped."""
        self.drop(f)
        return False

    cdef Frame* dequeue(self, double now) noexcept:
        """The next frame to send, NULL if none may be sent now."""
        return NULL

    cdef double ready(self, double now) noexcept:
        """When `dequeue` may have a frame, after it had none though frames are held."""
        return INFINITY

    cdef void clear(self) noexcept:
        """Throw everything away, as `tc qdisc` does when it resets; not counted as dropped."""

    cdef void drop(self, Frame* f) noexcept:
        self.dropped += 1
        frame_free(f)

    cdef bint child_enqueue(self, Qdisc child, Frame* f, double now) noexcept:
        """Enqueue to a child and keep our own counts right, whatever it threw away."""
        cdef uint64_t dropped = child.dropped, marked = child.marked, size = child.bytes
        cdef uint32_t packets = child.packets
        cdef bint taken = child.enqueue(f, now)
        self.packets += child.packets - packets
        self.bytes += child.bytes - size
        self.dropped += child.dropped - dropped
        self.marked += child.marked - marked
        return taken

    cdef Frame* child_dequeue(self, Qdisc child, double now) noexcept:
        cdef uint64_t dropped = child.dropped, marked = child.marked, size = child.bytes
        cdef uint32_t packets = child.packets
        cdef Frame* f = child.dequeue(now)
        self.packets += child.packets - packets
        self.bytes += child.bytes - size
        self.dropped += child.dropped - dropped
        self.marked += child.marked - marked
        return f


cdef class Classful(Qdisc):
    """A qdisc whose frames are held by others."""

    cdef double ready(self, double now) noexcept:
        cdef Qdisc child
        cdef double first = INFINITY
        for child in self.children:
            if child.packets:
                first = min(first, child.ready(now))
        return first

    cdef void clear(self) noexcept:
        cdef Qdisc child
        for child in self.children:
            child.clear()
        self.packets = 0
        self.bytes = 0
