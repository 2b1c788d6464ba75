"""A network namespace: the way of a packet through a Linux host."""
cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from natfast.filter cimport Host
from natfast.hooks cimport Netfilter
from natfast.packet cimport Packet
from simcore.engine.ahead cimport Trail
from simcore.engine.calendar cimport Handler
from simcore.engine.frame cimport Frame, FrameQueue
from simcore.engine.map cimport U64Map
from simcore.net.device cimport Device
from simcore.net.endpoints cimport Endpoint, Endpoints
from simcore.net.fdb cimport Fdb
from simcore.net.icmp cimport IcmpLimit, RedirectLimit
from simcore.net.interface cimport Interface
from simcore.net.neighbours cimport ArpCache, Neighbour
from simcore.net.options cimport Echo, Options
from simcore.net.routes cimport RouteTable
from simcore.net.ways cimport Way, Ways

cdef class FlowProbe:
    """Sees each packet as its sender made it and as its receiver got it; see `simcore.measure.flows`."""
    cdef void sent(self, Frame* f, double now) noexcept
    cdef void arrived(self, const Frame* f, double now) noexcept

cdef class Processor(Handler):
    """What takes the time of handling packets, if it is to be counted; see `simcore.net.cpu`."""
    cdef bint running           # a packet is being handled: what leaves waits until its time has passed
    cdef uint32_t bridged       # what the packet at hand has needed
    cdef uint32_t routed
    cdef uint32_t tracked
    cdef uint32_t natted
    cdef uint32_t delivered
    cdef void offer(self, Frame* f, int port) noexcept
    cdef void hold(self, Interface dev, Frame* f) noexcept
    cdef void hold_output(self, Frame* f, const Way* w) noexcept
    cdef void hold_local(self, Endpoint e, Frame* f, uint32_t l4) noexcept

@cython.final
cdef class Namespace(Device):
    # what every packet sent needs, side by side: with thousands of namespaces each is cold when its turn comes
    cdef Ways ways
    cdef readonly Netfilter netfilter
    cdef Processor cpu          # None: handling takes no time
    cdef public FlowProbe flows
    cdef uint16_t ip_id
    # and what those need that come in, too
    cdef bint forwarding
    cdef bint bridge_netfilter
    cdef void** port_interface  # of each port; `interfaces` keeps them
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

    cdef void process(self, Frame* f, int port) noexcept
    cdef void leave(self, Interface dev, Frame* f) noexcept
    cdef void drop(self, Frame* f, Packet* p, str reason) noexcept
    cdef void note(self, str place, Frame* f, str what) noexcept
    cdef int hook(self, int hook, Frame* f, Packet* p) noexcept
    cdef void bridge_receive(self, Interface port, Frame* f) noexcept
    cdef void bridge_decide(self, Interface port, Interface bridge, Frame* f, Packet* p, bint hooked) noexcept
    cdef void bridge_forward(self, Interface out, Interface bridge, Frame* f, Packet* p, bint hooked) noexcept
    cdef void bridge_transmit(self, Interface bridge, Frame* f) noexcept
    cdef void ethernet_receive(self, Interface dev, Frame* f) noexcept
    cdef bint ip_header_ok(self, Frame* f, bint trim=*) noexcept
    cdef Frame* reassemble(self, Frame* f, int where) noexcept
    cdef void ip_receive(self, Interface dev, Frame* f, Packet* p) noexcept
    cdef Frame* prerouting(self, Interface dev, Frame* f, Packet* p) noexcept
    cdef void no_way(self, Frame* f, Packet* p, const Way* w) noexcept
    cdef void route_input(self, Interface dev, uint64_t addresses, Way* w) noexcept
    cdef void decide_input(self, Interface dev, uint32_t src, uint32_t dst, Way* w) noexcept
    cdef void route_output(self, uint64_t addresses, Way* w) noexcept
    cdef void decide_output(self, uint32_t dst, uint32_t src, Way* w) noexcept
    cdef void ip_forward(self, Interface dev, Frame* f, Packet* p, Way* w) noexcept
    cdef bint options_in(self, Frame* f, Packet* p, const Way* w) noexcept
    cdef bint has_address(self, uint32_t address) noexcept nogil
    cdef uint32_t time_of_day(self) noexcept
    cdef bint echo_options(self, const uint8_t* ip, uint32_t source, Echo* echo) noexcept
    cdef void local_in(self, Interface dev, Frame* f, Packet* p, Way* w) noexcept
    cdef void output_fragments(self, const Way* w, Frame* f) noexcept
    cdef void output_unaddressed(self, const Way* w, Frame* f) noexcept
    cdef void neighbour_stale(self, Neighbour n) noexcept
    cdef double vouched_for(self, Neighbour n) noexcept
    cdef void neighbour_output(self, const Way* w, Frame* f) noexcept
    cdef void next_neighbour(self, Way* w) noexcept
    cdef void put_on_wire(self, Interface dev, Frame* f) noexcept
    cdef void arp_receive(self, Interface dev, Frame* f) noexcept
    cdef void arp_send(self, Interface dev, int op, const uint8_t* target_mac, uint32_t target, uint32_t sender) noexcept
    cdef Neighbour neighbour(self, int oif, uint32_t address, bint create)
    cdef void neighbour_known(self, Neighbour n, const uint8_t* mac, bint asked) noexcept
    cdef void neighbour_failed(self, Neighbour n) noexcept
    cdef void icmp_error(self, int kind, int code, uint32_t info, Frame* f, Packet* p, bint to_local) noexcept
    cdef void icmp_in(self, Interface dev, Frame* f, uint32_t l4) noexcept
    cdef void send_reset(self, Frame* f) noexcept
    cdef Frame* new_reset(self, const Frame* f, int tos, const Echo* options) noexcept
    cdef void reject(self, Frame* f, Packet* p) noexcept
    cdef Interface new_interface(self, str name, int kind, str mac, int mtu)
    cdef Interface interface_numbered(self, uint32_t number)
    cdef void redirect(self, Interface dev, Frame* f, Packet* p, const Way* w) noexcept
    cdef void local_out(self, Frame* f, const Packet* cause=*) noexcept
    cdef void trail_output(self, const uint8_t* headers, uint32_t length, Trail* t) noexcept
    cdef Frame* repeat_packet(self, const uint8_t* headers, uint32_t have, uint32_t length) noexcept
    cdef Frame* new_packet(self, uint32_t have, uint32_t length, int protocol, uint32_t src, uint32_t dst, int tos, int ttl, int frag, const Echo* options=*) noexcept
    cdef Endpoint socket_for(self, int protocol, uint32_t local, uint16_t lport, uint32_t remote, uint16_t rport)
    cdef void fragment_expiry(self) noexcept
    cdef uint32_t source_for(self, uint32_t dst) noexcept
    cdef void bridge_up(self, Interface bridge, Frame* f, Packet* p, bint hooked) noexcept
    cdef void emit_fragments(self, Interface out, Frame* f, uint32_t size, const Way* w) noexcept
    cdef uint32_t arp_source(self, Interface out, uint32_t target) noexcept
    cdef void local_error(self, Frame* f) noexcept
    cdef uint32_t neighbour_index(self, uint64_t token) noexcept
    cdef void flood(self, Interface port, Interface bridge, Frame* f, Packet* p, bint hooked) noexcept
