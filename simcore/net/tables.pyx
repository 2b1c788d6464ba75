"""What a network namespace is made of, as `ip` and `bridge` change and show it: interfaces, addresses, routes, neighbours, FDB."""
import ipaddress
import zlib

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from natfast.filter cimport MAX_ADDRESSES
from natfast.hooks cimport Netfilter
from natfast.packet cimport Packet
from natfast.defrag import Defragmenter
from simcore.engine.frame cimport Frame, fq_clear, frame_bytes, frame_free
from simcore.engine.map cimport U64Map
from simcore.net.device cimport Wire
from simcore.net.endpoints cimport Endpoints
from simcore.net.fdb cimport Fdb
from simcore.net.icmp cimport IcmpLimit, RedirectLimit
from simcore.net.interface cimport BRIDGE, ETHERNET, LOOPBACK, Interface
from simcore.net.neighbours cimport ArpCache, N_DELAY, N_INCOMPLETE, N_PERMANENT, N_PROBE, N_REACHABLE, Neighbour
from simcore.net.routes cimport Route, RouteTable
from simcore.net.mac cimport mac_bytes, mac_key
from simcore.net.ways cimport ways_clear, ways_free, ways_init
from simcore.net.sysctl import DEFAULTS, MACHINE, check

BRIDGE_PORTS = 1023
"""Ports that a Linux bridge takes: their numbers have ten bits, and 0 is none."""


cdef class Tables(Device):
    """The part of a `Namespace` that its packets find when they come."""

    def __init__(self, env, str name, sysctl=None, rules=None, seed=0, ArpCache arp_cache=None):
        Device.__init__(self, env, name)
        self.env = env
        self.interfaces = []
        self.by_name = {}
        settings = {key: value for key, value in (sysctl or {}).items() if not key.startswith("net.netfilter.")}
        check(settings)
        if arp_cache is not None and (whole := MACHINE.keys() & settings):
            raise ValueError(f"sysctl {min(whole)} is the whole machine's, not a namespace's")
        self.sysctl = {**DEFAULTS, **settings}
        self.arp_cache = ArpCache(self.sysctl) if arp_cache is None else arp_cache
        self.bridge_netfilter = bool(self.sysctl["net.bridge.bridge-nf-call-iptables"])
        self.icmp_limit = IcmpLimit(float(self.sysctl["net.ipv4.icmp_ratelimit"]) / 1000)
        self.redirect_limit = RedirectLimit()
        self.netfilter = None if rules is None else Netfilter(rules, {}, sysctl, seed)
        self.routes = RouteTable()
        self.neighbours = U64Map()
        self.neighbour_objects = []
        self.fdb = Fdb()
        self.defrag = Defragmenter(float(self.sysctl["net.ipv4.ipfrag_time"]), int(self.sysctl["net.ipv4.ipfrag_high_thresh"]),
                                   int(self.sysctl["net.ipv4.ipfrag_max_dist"]))
        self.sockets = Endpoints(self.calendar)
        self.drops = {}
        self.ip_id = 0
        self.default_ttl = <uint8_t>int(self.sysctl["net.ipv4.ip_default_ttl"])
        self.tracer = None
        self.new_interface("lo", LOOPBACK, "00:00:00:00:00:00", 65536)

    def __cinit__(self, *args, **kwargs):
        ways_init(&self.ways)

    def __dealloc__(self):
        fq_clear(&self.looped)
        ways_free(&self.ways)

    def attach(self, int port, Wire wire not None):
        cdef Interface dev
        self.check_port(port)
        self.ports[port] = wire
        dev = <Interface>self.at_port[port]
        dev.wire = wire
        dev.update_plain()

    def conf(self, str interface, str key):
        """A `net.ipv4.conf` setting of an interface: the larger of `all` and its own (or `default`), as Linux takes it."""
        return max(int(self.sysctl[f"net.ipv4.conf.all.{key}"]), int(self.own_conf(interface, key, 0)))

    def own_conf(self, str interface, str key, otherwise):
        """What an interface is told of its own, or by `default`."""
        return self.sysctl.get(f"net.ipv4.conf.{interface}.{key}", self.sysctl.get(f"net.ipv4.conf.default.{key}", otherwise))

    def add_interface(self, str name, str mac=None, int mtu=1500):
        """Add an interface for a wire, one end of a veth pair or a card; its number among such is its `port`.

        Parameters
        ----------
        mac : str, optional
            As 02:42:ac:11:00:02; if not given one that follows from the names of namespace and interface.

        Raises
        ------
        ValueError
            If there is one of that name, or the MAC is none.
        """
        return self.new_interface(name, ETHERNET, mac, mtu)

    def add_bridge(self, str name, str mac=None, int mtu=1500):
        """Add a bridge, for `enslave`; as `add_interface`."""
        return self.new_interface(name, BRIDGE, mac, mtu)

    cdef Interface new_interface(self, str name, int kind, str mac, int mtu):
        if name in self.by_name:
            raise ValueError(f"{self.name}: interface {name} exists already")
        cdef uint32_t own
        if mac is None:
            own = zlib.crc32(f"{self.name}/{name}".encode())
            mac = "02:73:" + own.to_bytes(4, "big").hex(":")
        cdef int port = -1
        if kind == ETHERNET:
            port = self.add_port()
        cdef int number = self.netfilter.number(name) if self.netfilter is not None else len(self.interfaces) + 1
        cdef Interface dev = Interface(self.name, name, len(self.interfaces), kind, number, port, mac, mtu)
        dev.calendar = self.calendar
        dev.route_localnet = bool(self.conf(name, "route_localnet"))
        dev.rp_filter = self.conf(name, "rp_filter")
        # `all` is another name of ip_forward, and sets every interface
        dev.forwarding = bool(int(self.own_conf(name, "forwarding", self.sysctl.get(
            "net.ipv4.conf.all.forwarding", self.sysctl["net.ipv4.ip_forward"]))))
        dev.send_redirects = bool(self.conf(name, "send_redirects"))
        self.interfaces.append(dev)
        self.by_name[name] = dev
        if port >= 0:
            self.at_port[port] = <void*>dev
        return dev

    def enslave(self, str port, str bridge):
        """Make an interface a port of a bridge."""
        cdef Interface p = self.by_name[port]
        cdef Interface b = self.by_name[bridge]
        if b.kind != BRIDGE:
            raise ValueError(f"{self.name}/{bridge} is not a bridge")
        if len(b.members) >= BRIDGE_PORTS:
            raise ValueError(f"{self.name}/{bridge}: a bridge takes at most {BRIDGE_PORTS} ports")
        p.master = b
        b.members.insert(0, p)

    def add_address(self, str name, str cidr):
        """Give an interface an address; its subnet becomes a route on link."""
        cdef Interface dev = self.by_name[name]
        cdef Route r
        a = ipaddress.IPv4Interface(cidr)
        dev.addresses.append(cidr)
        if dev.address == 0:
            dev.address = int(a.ip)
            dev.mask = int(a.network.netmask)
        if self.host.n >= MAX_ADDRESSES:
            raise ValueError(f"{self.name}: more than {MAX_ADDRESSES} addresses")
        self.host.address[self.host.n].address = int(a.ip)
        self.host.address[self.host.n].mask = int(a.network.netmask)
        self.host.address[self.host.n].interface = dev.index
        self.host.n += 1
        if self.netfilter is not None:
            self.netfilter.set_addresses(name, dev.addresses)
        if a.network.prefixlen < 32:
            r.network = int(a.network.network_address)
            r.mask = int(a.network.netmask)
            r.via = 0
            r.metric = 0
            r.interface = dev.index
            r.source = int(a.ip)
            self.routes.add(r)
        ways_clear(&self.ways)

    def add_route(self, str to, str dev, via=None, int metric=0):
        """Add a route: `to` is `default` or a network; `via` the next hop, None if on link."""
        cdef Route r
        net = ipaddress.IPv4Network("0.0.0.0/0" if to == "default" else to)
        r.network = int(net.network_address)
        r.mask = int(net.netmask)
        r.via = int(ipaddress.IPv4Address(via)) if via else 0
        r.metric = metric
        r.interface = (<Interface>self.by_name[dev]).index
        r.source = (<Interface>self.by_name[dev]).address
        self.routes.add(r)
        ways_clear(&self.ways)

    def add_neighbour(self, str address, str mac, str dev):
        """A permanent neighbour entry."""
        cdef Neighbour n = self.neighbour((<Interface>self.by_name[dev]).index, int(ipaddress.IPv4Address(address)), True)
        cdef bytes raw = mac_bytes(mac)
        memcpy(n.mac, <const char*>raw, 6)
        n.state = N_PERMANENT
        self.ways.changes += 1

    def add_fdb(self, str mac, str port):
        """A static forwarding entry of the bridge that `port` belongs to."""
        cdef bytes raw = mac_bytes(mac)
        cdef Interface dev = self.by_name[port]
        if dev.master is None:
            raise ValueError(f"{self.name}/{port} is not a bridge port")
        self.fdb.add(mac_key(<const uint8_t*><const char*>raw), dev.index)

    def interface(self, str name):
        """An interface by name."""
        return self.by_name[name]

    def route_table(self):
        """The routing table, the most specific first: (network, next hop or empty, interface)."""
        cdef int i
        out = []
        for i in range(self.routes.n):
            r = self.routes.routes[i]
            to = ipaddress.IPv4Network((r.network, bin(r.mask).count("1")))
            out.append((str(to), str(ipaddress.IPv4Address(r.via)) if r.via else "", self.interfaces[r.interface].name))
        return out

    def neighbour_table(self):
        """The neighbour table as `ip neigh` shows it: (address, interface, MAC, state)."""
        names = {N_INCOMPLETE: "INCOMPLETE", N_REACHABLE: "REACHABLE", N_DELAY: "DELAY", N_PROBE: "PROBE", N_PERMANENT: "PERMANENT"}
        cdef Neighbour n
        out = []
        for n in self.neighbour_objects:
            if n.state == 0:
                continue
            state = names[n.state]
            if n.stale(self.calendar.now):
                state = "STALE"
            out.append((str(ipaddress.IPv4Address(n.address)), self.interfaces[n.interface].name,
                        ":".join(f"{b:02x}" for b in n.mac[:6]), state))
        return out

    def fdb_table(self):
        """The bridge's forwarding table: (MAC, port, static)."""
        return sorted((mac, self.interfaces[port].name, static) for mac, port, static in self.fdb.rows())

    def reset(self):
        """Forget conntrack, fragments, and how many errors were sent."""
        if self.netfilter is not None:
            self.netfilter.flush()
        self.defrag.clear()
        self.icmp_limit.clear()

    cdef Neighbour neighbour(self, int oif, uint32_t address, bint create):
        cdef uint64_t key = (<uint64_t>oif << 32) | address, index
        cdef Neighbour n
        if self.neighbours.get(key, &index):
            return <Neighbour>self.neighbour_objects[index]
        if not create:
            return None
        n = Neighbour()
        n.address = address
        n.interface = oif
        self.neighbours.put(key, <uint64_t>len(self.neighbour_objects))
        self.neighbour_objects.append(n)
        return n

    cdef void drop(self, Frame* f, Packet* p, str reason) noexcept:
        """The end of a packet's way."""
        if self.tracer is not None:
            self.note("", f, f"dropped: {reason}")
        self.drops[reason] = self.drops.get(reason, 0) + 1
        if p != NULL and self.netfilter is not None:
            self.netfilter.put(p)
        frame_free(f)

    cdef void note(self, str place, Frame* f, str what) noexcept:
        try:
            self.tracer.note(self.calendar.now, f"{self.name}/{place}" if place else self.name, f.id, frame_bytes(f), what)
        except Exception as error:
            self.calendar.fail(error)
