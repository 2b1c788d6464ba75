"""What a network namespace is made of."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from natfast.filter cimport Host
from natfast.hooks cimport Netfilter
from natfast.packet cimport Packet
from simcore.engine.flag cimport Flag
from simcore.engine.frame cimport Frame, FrameQueue
from simcore.engine.map cimport U64Map
from simcore.net.device cimport Device
from simcore.net.endpoints cimport Endpoints
from simcore.net.fdb cimport Fdb
from simcore.net.icmp cimport IcmpLimit, RedirectLimit
from simcore.net.interface cimport Interface
from simcore.net.neighbours cimport ArpCache, Neighbour
from simcore.net.options cimport Options
from simcore.net.processor cimport FlowProbe, Processor
from simcore.net.routes cimport RouteTable
from simcore.net.ways cimport Ways

cdef enum:                      # what an event of a namespace is about: the low byte of its token
    T_NEIGHBOUR = 1
    T_FRAGMENTS = 2
    T_LOOPBACK = 3

cdef class Tables(Device):
    # what every packet sent needs, side by side: with thousands of namespaces each is cold when its turn comes
    cdef Processor cpu          # None: handling takes no time
    cdef public FlowProbe flows
    cdef uint16_t ip_id
    cdef uint8_t default_ttl    # of what is sent from here
    cdef Flag bridge_netfilter
    cdef Ways ways
    # and what those need that come in, too
    cdef readonly Netfilter netfilter
    cdef public object tracer
    cdef readonly Endpoints sockets
    cdef Fdb fdb
    cdef Options options        # of the packet at hand
    # the rest
    cdef readonly object env
    cdef readonly list interfaces
    cdef readonly dict by_name
    cdef readonly dict sysctl
    cdef RouteTable routes
    cdef U64Map neighbours
    cdef list neighbour_objects
    cdef readonly ArpCache arp_cache
    cdef object defrag
    cdef IcmpLimit icmp_limit
    cdef RedirectLimit redirect_limit
    cdef readonly dict drops
    cdef FrameQueue looped      # frames on their way through lo
    cdef Host host
    cdef Neighbour neighbour(self, int oif, uint32_t address, bint create)
    cdef Interface new_interface(self, str name, int kind, str mac, int mtu)
    cdef void drop(self, Frame* f, Packet* p, str reason) noexcept
    cdef void note(self, str place, Frame* f, str what) noexcept
