"""Network interfaces of a namespace, and the taps that watch them."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from simcore.engine.calendar cimport Calendar
from simcore.engine.flag cimport Flag
from simcore.engine.frame cimport Frame
from simcore.net.device cimport Wire

cdef enum:                          # kind of interface
    ETHERNET = 0                    # one end of a wire: a veth, or the host's card
    BRIDGE = 1
    LOOPBACK = 2

cdef class Tap:
    cdef Tap after                  # is told, too; None: nobody else watches
    cdef void frame(self, double time, Interface interface, const Frame* f, bint outgoing) noexcept
    cdef int look(self, double time, Interface interface, const Frame* f, bint outgoing) except -1

cdef class Interface:
    # what every frame received touches: one cache line with the object's header
    cdef readonly int index
    cdef readonly int number        # netfilter's number for it
    cdef readonly uint8_t kind
    cdef Flag is_up
    cdef Flag watched               # `first_tap` is there
    cdef readonly Interface master  # the bridge it is a port of
    cdef public uint64_t rx_packets
    cdef public uint64_t rx_bytes
    cdef readonly int port          # device port, -1 for a bridge or loopback
    cdef public int rp_filter       # 0 off, 1 strict, 2 loose
    # what every frame sent touches: the next
    cdef public uint32_t mtu
    cdef uint8_t mac[6]
    cdef Flag plain                 # up, plugged in, and nobody watches: most are, always
    cdef Wire wire                  # what it sends into; None: nothing is plugged in
    cdef public uint64_t tx_packets
    cdef public uint64_t tx_bytes
    # the rest
    cdef public Flag hairpin
    cdef public Flag forwarding         # what comes in here may leave elsewhere
    cdef public Flag route_localnet     # 127/8 is not martian here
    cdef public Flag send_redirects
    cdef Tap first_tap
    cdef Calendar calendar          # that a tap's error stops
    cdef uint32_t address           # the primary one
    cdef uint32_t mask
    cdef readonly str name
    cdef readonly str place         # namespace/interface
    cdef readonly list members      # a bridge's ports, the newest first: so they are flooded
    cdef readonly list addresses    # CIDR strings
    cdef void update_plain(self) noexcept


cdef inline void seen(Interface dev, double now, const Frame* f, bint outgoing) noexcept:
    """A frame passes an interface: it is counted, and whoever watches sees it."""
    if outgoing:
        dev.tx_packets += 1
        dev.tx_bytes += f.len
    else:
        dev.rx_packets += 1
        dev.rx_bytes += f.len
    if dev.watched:
        dev.first_tap.frame(now, dev, f, outgoing)
