"""Netfilter: one namespace's rules, conntrack and NAT behind the five hooks."""
import ipaddress

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
cimport cython
cimport numpy as np
import numpy

from natfast.arrays cimport COLUMN_TYPES, Frames, column, frames_of, pointer, times_of
from natfast.batch cimport (AHEAD, Ahead, Batch, GROUP, REST, answer, fetch_frames, fetch_neighbour, fetch_new, forward_in_turn,
                            forward_together, how_many, match_ahead, place_ahead, probe_ahead, read_ahead, remember_new, row_of)
from natfast.checksum cimport ip_checksum_ok, ip_decrease_ttl
from natfast.columns cimport BARE, Columns, Translated, decompose_rows
from natfast.conntrack cimport (conntrack_confirm, conntrack_in, conntrack_put, CT_DROP, delete_matching, entry_for_new, find_live,
                                is_full, open_entry, still_there, sweep, sweep_all, track, Wanted)
from natfast.fastpath cimport forward_known, NATFAST_BYTES, NATFAST_NONE, opens, ORDINARY, ordinary, probable_entry, translate, unit_here
from natfast.filter cimport (CChain, CTSTATE_ESTABLISHED, CTSTATE_NEW, Compiled, MAX_ADDRESSES, MAX_INTERFACES, Path, NF_ACCEPT,
                             NF_DROP, count_empty, count_path, find_path, settle, NF_REJECT, NF_STOLEN, TABLE_FILTER, TABLE_MANGLE,
                             TABLE_NAT, TABLE_RAW, walk)
from natfast.headers cimport ETH_HLEN, IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, be16, ip_ihl, ip_is_fragment, ip_total
from natfast.listing cimport entry_text, state_name
from natfast.log cimport log_free, log_lines
from natfast.memo cimport ORIGINAL, REPLY
from natfast.nat cimport MANIP_DST, MANIP_SRC, nat_icmp_error, nat_initialized, nat_null_binding, nat_packet, nat_translate, rewrite
from natfast.packet cimport (BY_NAT, FORWARD, IP_CT_ESTABLISHED, IP_CT_ESTABLISHED_REPLY, IP_CT_NEW, IP_CT_RELATED, LOCAL_IN,
                             LOCAL_OUT, Packet, POSTROUTING, PREROUTING)
from natfast.state cimport Conntrack, milliseconds, TRACK_ACCEPT, TRACK_REPEAT, TRACK_UNCOUNTED, expired, heard
from natfast.sysctl cimport sysctl_defaults, sysctl_get, sysctl_set
from natfast.table cimport (Bucket, Entry, IPS_CONFIRMED, IPS_DST_NAT, IPS_NAT_MASK, IPS_SEEN_REPLY, IPS_SRC_NAT, Table, prefetch,
                            surely_absent, table_bytes, table_clear, table_free, table_init, __builtin_ctz)
from natfast.tuples cimport Tuple, invert, parse_tuple
from natfast.defrag import Defragmenter
from natfast.errors import BoxError
from natfast.listing import PROTOCOL_NAMES
from natfast.rules import Rules

np.import_array()

DROP = NF_DROP
ACCEPT = NF_ACCEPT
STOLEN = NF_STOLEN
REJECT = NF_REJECT

cdef enum:
    NEIGHBOURS = 3              # new connections whose turn is next: those that they will be chained to have been asked for


cdef tuple VECTOR_UNITS = ("none", "avx2", "avx512")        # by number, NATFAST_NONE first


cdef inline int filter_hook(Netfilter nf, int table, int hook, Packet* p) noexcept nogil:
    cdef int32_t number = nf.program.base[table][hook]
    cdef CChain* chain
    if number < 0:
        return NF_ACCEPT
    chain = &nf.program.chains[number]
    if chain.n == 0:                                # most of those that iptables-save prints
        chain.packets += 1
        chain.bytes += p.len
        return chain.policy
    return walk(nf.program, table, hook, &nf.c, p, &nf.host)


cdef inline int nat_decide(Netfilter nf, int hook, int manip, Packet* p, const Entry* e) noexcept nogil:
    """What the first packet of connection `e` decides for it: a mapping, or none."""
    cdef int verdict
    if nat_initialized(e, manip):
        return NF_ACCEPT
    verdict = filter_hook(nf, TABLE_NAT, hook, p)
    if verdict == NF_ACCEPT and not nat_initialized(e, manip):
        nat_null_binding(&nf.c, p.ct, manip)
    return verdict


cdef inline int nat_hook(Netfilter nf, int hook, int manip, Packet* p) noexcept nogil:
    """nf_nat_inet_fn: decide the translation with a connection's first packet, apply it to all."""
    cdef Conntrack* c = &nf.c
    cdef Entry* e
    cdef int verdict
    if p.ct == 0:
        return NF_ACCEPT
    e = &c.table.entries[p.ct]
    if p.ctinfo == IP_CT_ESTABLISHED or p.ctinfo == IP_CT_ESTABLISHED_REPLY:
        return translated(p, nat_packet(c, p, manip))
    if p.ctinfo != IP_CT_NEW and p.data[9] == IPPROTO_ICMP:
        return translated(p, nat_icmp_error(c, p, manip))
    # a RST of our own is related to a connection that may be new: rules see it in place of the packet that it answers
    verdict = nat_decide(nf, hook, manip, p, e)
    return verdict if verdict != NF_ACCEPT else translated(p, nat_packet(c, p, manip))


cdef inline int translated(Packet* p, bint done) noexcept nogil:
    if not done:
        p.dropped_by = BY_NAT
    return NF_ACCEPT if done else NF_DROP


cdef inline int coming(Netfilter nf, int hook, Packet* p) noexcept nogil:
    """PREROUTING, and most of OUTPUT: which connection is it of, and to whom does that go?"""
    cdef int v = filter_hook(nf, TABLE_RAW, hook, p)
    if v != NF_ACCEPT:
        return v
    if conntrack_in(&nf.c, p, hook == PREROUTING) == CT_DROP:
        return NF_DROP
    v = filter_hook(nf, TABLE_MANGLE, hook, p)
    return v if v != NF_ACCEPT else nat_hook(nf, hook, MANIP_DST, p)


cdef inline int going(Netfilter nf, int hook, Packet* p) noexcept nogil:
    """POSTROUTING and INPUT: from whom does the connection seem to come? From now on it exists."""
    cdef int v = filter_hook(nf, TABLE_MANGLE, hook, p)
    if v == NF_ACCEPT and hook == LOCAL_IN:
        v = filter_hook(nf, TABLE_FILTER, hook, p)
    if v == NF_ACCEPT:
        v = nat_hook(nf, hook, MANIP_SRC, p)
    if v != NF_ACCEPT:
        return v
    if not p.owned and (p.ct == 0 or p.ctinfo != IP_CT_RELATED):
        return NF_ACCEPT                            # an error made here may be about a packet whose connection is not known yet
    if p.owned and hook == POSTROUTING and nf.unconfirmed != NULL and nf.unconfirmed.ct == 0:
        nf.unconfirmed[0] = p[0]
        p.owned = False
        return NF_ACCEPT
    return NF_ACCEPT if conntrack_confirm(&nf.c, p) else NF_DROP


cdef Wanted wanted(protocol, src, dst, sport, dport) except *:
    """What entries are to be deleted, of what `Netfilter.delete_conntrack` is given."""
    cdef Wanted w
    w.protocol = -1 if protocol is None else protocol
    w.src = -1 if src is None else int(ipaddress.IPv4Address(src))
    w.dst = -1 if dst is None else int(ipaddress.IPv4Address(dst))
    w.sport = -1 if sport is None else sport
    w.dport = -1 if dport is None else dport
    return w


cdef class Skb:
    """A packet on its way from hook to hook; it keeps its connection while it waits between them.

    Parameters
    ----------
    frame : bytes-like
        An Ethernet frame with an IPv4 packet; copied.

    Raises
    ------
    ValueError
        If it is no such frame.
    """

    def __init__(self, frame):
        self.data = bytearray(frame)
        cdef uint32_t n = <uint32_t>len(self.data)
        cdef uint8_t* start = <uint8_t*><char*>self.data
        if n < ETH_HLEN + 20 or n < ETH_HLEN + ip_total(start + ETH_HLEN) or ip_total(start + ETH_HLEN) < 20:
            raise ValueError("expected an Ethernet frame with an IPv4 packet")
        self.p.data = start + ETH_HLEN
        self.p.len = ip_total(self.p.data)
        self.p.avail = self.p.len
        self.p.room = n - ETH_HLEN

    def __dealloc__(self):
        self.release()

    cdef void release(self) noexcept:
        if self.netfilter is not None:
            conntrack_put(&self.netfilter.c, &self.p)

    def __bytes__(self):
        return bytes(self.data)

    @property
    def tracked(self):
        """Does it hold a connection now?"""
        return self.p.ct != 0


@cython.final
cdef class Netfilter:
    """Rules, connection tracking and NAT of one network namespace.

    Parameters
    ----------
    rules : Rules, optional
        What `iptables-save` would print; none by default.
    interfaces : dict of str to list of str, optional
        Interface name to its addresses, `{"eth0": ["192.168.1.100/24"]}`: what addrtype, MASQUERADE and
        REDIRECT look at.
    sysctl : dict, optional
        Full names (`"net.netfilter.nf_conntrack_max": 262144`) to values.
    seed : int
        Of the random port choice and of the table's hash key.

    Raises
    ------
    RulesError, BoxError, ValueError
        For what is not understood.
    """

    def __cinit__(self, rules=None, interfaces=None, sysctl=None, seed=0):
        cdef list words = numpy.random.SeedSequence(seed).generate_state(3, numpy.uint64).tolist()
        cdef int i
        self.mtus = <uint16_t*>malloc(MAX_INTERFACES * sizeof(uint16_t))
        if self.mtus == NULL:
            raise MemoryError
        for i in range(MAX_INTERFACES):
            self.mtus[i] = 1500
        for i in range(PATHS):
            self.paths[i].key = 0xFFFFFFFFU
        self.numbers = {}
        self.names = [""]
        self.whole = []
        self.defrag = Defragmenter()
        self.unit = unit_here()
        sysctl_defaults(&self.c.sysctl)
        for name, value in (sysctl or {}).items():
            if name.startswith("net.netfilter."):
                sysctl_set(&self.c.sysctl, name, value)
        cdef uint32_t room = self.c.sysctl.max or (1 << 24)
        table_init(&self.c.table, room, words[0], words[1])
        self.c.rng = words[2]
        self.compiled = Compiled(rules if rules is not None else Rules())
        self.program = &self.compiled.p
        for name, addresses in (interfaces or {}).items():
            self.number(name)
            self.set_addresses(name, addresses)

    def __dealloc__(self):
        table_free(&self.c.table)
        log_free(&self.c.log)
        free(self.mtus)

    def set_mtu(self, str name, uint16_t mtu):
        """An interface's MTU (1500 unless told otherwise): what TCPMSS --clamp-mss-to-pmtu goes by."""
        self.mtus[self.number(name)] = mtu

    def set_addresses(self, str name, addresses):
        """Replace an interface's addresses (CIDR strings)."""
        cdef int number = self.number(name)
        cdef uint32_t i = 0
        while i < self.host.n:
            if self.host.address[i].interface == number:
                self.host.n -= 1
                self.host.address[i] = self.host.address[self.host.n]
            else:
                i += 1
        for text in addresses:
            try:
                a = ipaddress.IPv4Interface(text)
            except ValueError:
                raise BoxError(f"interface {name}: {text!r} is not an address with prefix length, as 192.168.1.100/24") from None
            if self.host.n >= MAX_ADDRESSES:
                raise BoxError(f"interface {name}: more than {MAX_ADDRESSES} addresses in one namespace")
            self.host.address[self.host.n].address = int(a.ip)
            self.host.address[self.host.n].mask = int(a.network.netmask)
            self.host.address[self.host.n].interface = number
            self.host.n += 1

    cdef int number(self, str name) except -1:
        """The number of an interface, given to it when it is first named."""
        cdef object n = self.numbers.get(name)
        if n is None:
            n = len(self.names)
            self.compiled.register(n, name)
            self.numbers[name] = n
            self.names.append(name)
        return n

    def interface_number(self, str name):
        """The number that stands for an interface on the C side."""
        return self.number(name)

    # --- the hooks ---------------------------------------------------------------------------------

    cdef void clock(self, double now) noexcept nogil:
        self.c.now = milliseconds(now)

    @property
    def vectors(self):
        """The vector unit that batches are forwarded with: "avx512", "avx2" or "none"; the machine's best unless another is set.

        Results do not depend on it.

        Raises
        ------
        ValueError
            If it is set to one that this machine does not have, or that is none of these.
        """
        return VECTOR_UNITS[self.unit]

    @vectors.setter
    def vectors(self, unit):
        here = VECTOR_UNITS[:unit_here() + 1]
        if unit not in here:
            raise ValueError(f"vectors: {unit!r} is not one of {', '.join(here)}, which this machine has")
        self.unit = VECTOR_UNITS.index(unit)

    cdef void put(self, Packet* p) noexcept nogil:
        conntrack_put(&self.c, p)

    cdef Path* find_path(self, uint32_t iif, uint32_t oif, uint32_t state) noexcept nogil:
        """Find a path, in place of another."""
        cdef Path* path = path_place(self, iif, oif, state)
        settle(self.program, path)
        find_path(self.program, iif, oif, state, path)
        path.key = iif << 16 | oif
        path.state = state
        return path

    cdef void settle(self) noexcept nogil:
        """Let rules and policies say what has passed them, also of what took a short way."""
        cdef int i
        for i in range(PATHS):
            settle(self.program, &self.paths[i])

    cdef int run(self, int hook, Packet* p) noexcept nogil:
        """Everything registered at one hook, in netfilter's order of priorities."""
        cdef int v
        if hook == PREROUTING:
            return coming(self, PREROUTING, p)
        if hook == FORWARD:
            v = filter_hook(self, TABLE_MANGLE, FORWARD, p)
            return v if v != NF_ACCEPT else self.filter_forward(p)
        if hook == POSTROUTING:
            return going(self, POSTROUTING, p)
        if hook == LOCAL_OUT:
            v = coming(self, LOCAL_OUT, p)
            return v if v != NF_ACCEPT else filter_hook(self, TABLE_FILTER, LOCAL_OUT, p)
        return going(self, LOCAL_IN, p)

    cdef bint confirm(self, Packet* p) noexcept nogil:
        """The last that `run` does, for a packet whose connection was left in `unconfirmed`; False if it is dropped."""
        cdef bint passes = conntrack_confirm(&self.c, p) != CT_DROP
        conntrack_put(&self.c, p)
        return passes

    cdef bint translates(self, const Packet* p) noexcept nogil:
        """Has the packet's connection a mapping?"""
        return p.ct != 0 and self.c.table.entries[p.ct].status & IPS_NAT_MASK != 0

    cdef int filter_forward(self, Packet* p) noexcept nogil:
        """The filter table's FORWARD, walked only where a packet's way depends on more than its connection's state."""
        cdef Path* path
        if p.ct != 0 and (p.ctinfo == IP_CT_ESTABLISHED or p.ctinfo == IP_CT_ESTABLISHED_REPLY or p.ctinfo == IP_CT_NEW):
            path = path_of(self, p.iif, p.oif, CTSTATE_NEW if p.ctinfo == IP_CT_NEW else CTSTATE_ESTABLISHED)
            if path.accepts:
                count_path(self.program, path, 1, p.len)
                return NF_ACCEPT
        return filter_hook(self, TABLE_FILTER, FORWARD, p)

    cdef int established(self, Packet* p, int oif) noexcept nogil:
        """The whole way of a packet whose connection is established: what `run` does at the three hooks, no more.

        -1 if it is not such a packet, or reopens a connection that is over: then the long way begins anew.
        """
        cdef Conntrack* c = &self.c
        cdef uint32_t ei = p.hint >> 1
        cdef int dir = p.hint & 1, v
        cdef Entry* e = &c.table.entries[ei]
        if (p.data[8] <= 1 or not still_there(c, p.hint, p.key)
                or not (dir or e.status & IPS_SEEN_REPLY)):
            return -1
        c.stats.found += 1
        v = track(c, ei, p, 20, dir, True)
        if v == TRACK_REPEAT:
            p.ct = ei
            conntrack_put(c, p)                 # the tuple is free for a new connection
            p.hint = 0
            return -1
        count_empty(self.program, PREROUTING, 1, p.len)
        if v == TRACK_ACCEPT or v == TRACK_UNCOUNTED:
            p.ct = ei
            p.ctinfo = IP_CT_ESTABLISHED_REPLY if dir else IP_CT_ESTABLISHED
            heard(e, dir, v, p.len)
            if not nat_packet(c, p, MANIP_DST):
                return NF_DROP
        else:
            c.stats.invalid += 1
        ip_decrease_ttl(p.data)
        p.oif = oif
        count_empty(self.program, FORWARD, 1, p.len)
        v = self.filter_forward(p)
        if v == NF_ACCEPT:
            count_empty(self.program, POSTROUTING, 1, p.len)
            if p.ct != 0 and not nat_packet(c, p, MANIP_SRC):
                v = NF_DROP
        if p.owned:
            conntrack_put(c, p)
        return v

    cdef int first(self, Batch* b, uint8_t* ip, uint64_t m0, uint64_t m1, bint sound, uint32_t* out_length) noexcept nogil:
        """The whole way of an ordinary first packet of a connection: what `run` does at the three hooks, no more.

        Its header is whole. -1, with nothing changed, if it is no SYN, or not in order, or perhaps not the first, or the table is
        full: then the long way looks closer. `m0`, `m1`: its tuple, which is the one remembered.
        """
        cdef Conntrack* c = &self.c
        cdef Packet p
        cdef Entry* e
        cdef uint32_t ei
        cdef int v
        if not surely_absent(&c.table, ORIGINAL) or is_full(c) or not opens(ip, m1, sound):
            return -1
        ei = entry_for_new(c)
        if ei == 0:
            return -1
        e = &c.table.entries[ei]
        open_entry(c, e, ip, m0, m1)
        memset(&p, 0, sizeof(Packet))
        self.packet_from(&p, ip, <uint32_t>b.stride - ETH_HLEN, b.iif, b.oif, BARE - ETH_HLEN if b.bare else 0)
        p.ct = ei
        p.ctinfo = IP_CT_NEW
        p.owned = True
        surely_absent(&c.table, REPLY)              # if so, both NAT and the table need not look
        count_empty(self.program, PREROUTING, 1, p.len)
        v = nat_decide(self, PREROUTING, MANIP_DST, &p, e)
        if v == NF_ACCEPT and e.status & IPS_DST_NAT and not nat_translate(c, &p, MANIP_DST):
            v = NF_DROP
        if v == NF_ACCEPT:
            ip_decrease_ttl(ip)
            p.oif = b.oif
            count_empty(self.program, FORWARD, 1, p.len)
            if b.opening.accepts:
                b.opened += 1
                b.opened_octets += p.len
            else:
                v = filter_hook(self, TABLE_FILTER, FORWARD, &p)
        if v == NF_ACCEPT:
            count_empty(self.program, POSTROUTING, 1, p.len)
            v = nat_decide(self, POSTROUTING, MANIP_SRC, &p, e)
        if v == NF_ACCEPT:
            if e.status & IPS_SRC_NAT:
                translate(ip, &e.tuple[1], e.proto, True, 0)
            v = NF_ACCEPT if conntrack_confirm(c, &p) else NF_DROP
        out_length[0] = ETH_HLEN + p.len
        if p.owned:
            conntrack_put(c, &p)
        return v

    cdef inline void packet_from(self, Packet* p, uint8_t* ip, uint32_t room, int iif, int oif, uint32_t have) noexcept nogil:
        """Fill in what is not zero of a packet that has come in. `have`: see `one`."""
        p.data = ip
        p.len = ip_total(ip)
        p.avail = p.len if have == 0 or p.len < have else have
        p.checksum_ok = have != 0
        p.room = room
        p.mtu = min(self.mtus[iif], self.mtus[oif])
        p.iif = iif

    cdef int one(self, uint8_t* frame, uint32_t length, uint32_t room, uint32_t* out_length, int iif, int oif, uint32_t hint,
                 uint32_t have) noexcept nogil:
        """One frame through PREROUTING, FORWARD and POSTROUTING, with the checks of ip_rcv before.

        `room`: how long its IP packet may become. `hint`: reference of the entry, if a batch has found one. `have`: bytes of the
        packet that are in memory where not all are, and checksums are taken for right; 0: all are, and they are verified.
        """
        cdef Packet p
        cdef Tuple key
        cdef uint8_t* ip = frame + ETH_HLEN
        cdef uint32_t total, ihl
        cdef int v
        out_length[0] = length
        if length < ETH_HLEN + 20 or be16(frame + 12) != 0x0800:
            return NF_ACCEPT                        # not IPv4: none of netfilter's business here
        ihl = ip_ihl(ip)
        total = ip_total(ip)
        if (ip[0] >> 4) != 4 or ihl < 20 or total < ihl or length < ETH_HLEN + total or have == 0 and not ip_checksum_ok(ip, ihl):
            return NF_DROP
        if ip_is_fragment(ip):
            return NF_STOLEN
        memset(&p, 0, sizeof(Packet))
        self.packet_from(&p, ip, room, iif, oif, have)
        if hint != 0:
            parse_tuple(ip, total, &key, &ihl)
            p.key = &key
            p.hint = hint
        out_length[0] = ETH_HLEN + total            # padding does not survive a router
        if hint != 0 and self.program.early == 0:
            v = self.established(&p, oif)
            if v >= 0:
                return v
        v = self.run(PREROUTING, &p)
        if v == NF_ACCEPT:
            if ip[8] <= 1:
                v = NF_DROP
            else:
                ip_decrease_ttl(ip)
                p.oif = oif
                v = self.run(FORWARD, &p)
                if v == NF_ACCEPT:
                    v = self.run(POSTROUTING, &p)
        out_length[0] = ETH_HLEN + p.len            # TCPMSS may have added an option
        if p.owned:
            conntrack_put(&self.c, &p)
        return v

    def forward(self, frames, lengths, str iif, str oif, now=0.0, macs=None):
        """Forward a batch of frames from one interface to another, in place.

        Parameters
        ----------
        frames : uint8 array (n, stride)
            Ethernet frames, C-contiguous; rewritten where translated.
        lengths : uint32 array (n,)
            Bytes of each frame; shortened where padding is trimmed.
        iif, oif : str
            The interfaces that the frames come in by and leave by.
        now : float or float array (n,)
            Seconds; must not go back.
        macs : tuple of two 6-byte strings, optional
            Destination and source MAC to write into the frames that pass.

        Returns
        -------
        uint8 array (n,)
            ACCEPT, DROP, REJECT, or STOLEN for a fragment: it is held, and `take_reassembled` gives the
            datagram when it is complete.

        Raises
        ------
        ValueError
            If shapes or dtypes are not as said, or a length exceeds the stride.
        """
        cdef Frames f
        cdef np.npy_intp count
        cdef const double* each = NULL
        cdef double at = 0.0
        cdef int a = self.number(iif), b = self.number(oif)
        cdef bint held
        cdef uint8_t* v
        cdef const uint8_t* header = NULL
        cdef bytes addresses
        frames_of(frames, lengths, &f)
        count = f.count
        if macs is not None:
            if len(macs[0]) != 6 or len(macs[1]) != 6:
                raise ValueError("macs: expected two strings of 6 bytes")
            addresses = bytes(macs[0]) + bytes(macs[1])
            header = <const uint8_t*><const char*>addresses
        times = times_of(now, count, "frames")
        if times is None:
            at = now
        else:
            each = <const double*>np.PyArray_DATA(times)
        verdicts = np.PyArray_EMPTY(1, &count, np.NPY_UINT8, 0)
        v = <uint8_t*>np.PyArray_DATA(verdicts)
        if count == 0:
            return verdicts
        with nogil:
            held = self.forward_all(f.at, f.stride, f.lengths, NULL, count, a, b, at, each, header, v, NULL, NULL)
        if held:
            for i in numpy.flatnonzero(verdicts == STOLEN):
                self.hold(bytes(frames[i, :lengths[i]]), at if times is None else times[i], a, b)
        return verdicts

    cdef void forward_group(self, Batch* b, Ahead* group, const Ahead* next, const Ahead* fetch) noexcept nogil:
        """Forward a group of frames. Meanwhile ask for the entries of `next`, and for what its new flows will need."""
        cdef uint32_t k, n = group.count, ref, length, changed = 0, opened = 0, done = 0, passed, octets = 0, left
        cdef int verdict
        cdef uint8_t* frame
        cdef bint whole, sound
        cdef Table* t = &self.c.table
        if b.unit != NATFAST_NONE and b.short_way and n == GROUP and b.rest == 0:
            done = forward_together(&self.c, b, group, next, fetch)
            b.rest = 0 if done else REST
        else:
            if b.rest:
                b.rest -= 1
            for k in range(next.count):
                prefetch(next.packets.entry[k])
                prefetch(next.packets.entry[k] + 64)
            for k in range(fetch.count):
                prefetch(fetch.bucket[k])
            if b.short_way and next.n_new == 0:
                done = forward_in_turn(&self.c, b, group)
        if done:
            for k in range(next.n_new):
                fetch_new(t, next, k)
        if done == (1 << GROUP) - 1 and b.rows == NULL:
            memset(b.verdicts + group.first, NF_ACCEPT, GROUP)
            for k in range(GROUP):
                group.lengths[k] = ETH_HLEN + group.packets.length[k]
                octets += group.packets.length[k]
        else:
            left = done
            while left:
                k = <uint32_t>__builtin_ctz(left)
                answer(b, group, k, NF_ACCEPT, ETH_HLEN + group.packets.length[k])
                octets += group.packets.length[k]
                left &= left - 1
        if b.macs != NULL:
            left = done
            while left:
                memcpy(group.packets.ip[__builtin_ctz(left)] - ETH_HLEN, b.macs, 12)
                left &= left - 1
        passed = how_many(done)
        left = ((1 << n) - 1) & ~done
        while left:
            k = <uint32_t>__builtin_ctz(left)
            left &= left - 1
            frame = group.packets.ip[k] - ETH_HLEN
            whole = group.packets.whole >> k & 1
            sound = group.packets.sound >> k & 1
            length = 0
            verdict = -1
            if k < next.n_new and done == 0:
                fetch_new(t, next, k)
            if b.times != NULL:
                self.clock(b.times[row_of(b, group.first + k)])
            if opened < group.n_new and group.is_new[opened] == k:
                remember_new(t, group, opened)
                opened += 1
                if b.short_opening and whole:
                    verdict = self.first(b, group.packets.ip[k], group.m0[k], group.m1[k], sound, &changed)
                if opened + NEIGHBOURS - 1 < group.n_new:
                    fetch_neighbour(t, group, opened + NEIGHBOURS - 1)
            ref = group.packets.ref[k] if b.short_way and whole else 0
            if ref:
                length = forward_known(&self.c, group.packets.ip[k], group.m0[k], group.m1[k], ref, ORDINARY, sound)
            if length:
                verdict = NF_ACCEPT
                passed += 1
                octets += length
                length += ETH_HLEN
            else:
                if verdict < 0:
                    length = group.lengths[k] if b.rows == NULL else b.lengths[b.rows[group.first + k]]
                    verdict = self.one(frame, length, <uint32_t>b.stride - ETH_HLEN, &changed, b.iif, b.oif,
                                       group.packets.ref[k], BARE - ETH_HLEN if b.bare else 0)
                length = changed
                b.held = b.held or verdict == NF_STOLEN
            answer(b, group, k, <uint8_t>verdict, length)
            if b.macs != NULL and verdict == NF_ACCEPT:
                memcpy(frame, b.macs, 12)
        b.passed += passed
        b.octets += octets
        for k in range(min(next.n_new, <uint32_t>NEIGHBOURS)):
            fetch_neighbour(t, next, k)

    cdef bint forward_all(self, uint8_t* frames, size_t stride, uint32_t* lengths, const uint32_t* rows, size_t count, int iif, int oif,
                          double now, const double* times, const uint8_t* macs, uint8_t* verdicts, const Columns* columns,
                          const Translated* translated) noexcept nogil:
        """`forward` over plain memory: of `rows`, whose verdicts are ACCEPT so far, or of the first `count` rows, or columns.

        True if a fragment was held. With `columns` the frames, bare ones, and their lengths are those of the groups under way, and
        what becomes of them goes to `translated`.
        """
        cdef Batch b
        cdef Ahead ahead[AHEAD]
        cdef Ahead* fetch
        cdef Ahead* next
        cdef Ahead* group
        cdef size_t groups = (count + GROUP - 1) // GROUP, g, later
        cdef uint32_t k
        cdef Path* path = path_of(self, iif, oif, CTSTATE_ESTABLISHED)
        b.frames = frames
        b.stride = stride
        b.lengths = lengths
        b.rows = rows
        b.columns = columns
        b.translated = translated
        b.count = count
        b.iif = iif
        b.oif = oif
        b.times = times
        b.macs = macs
        b.verdicts = verdicts
        b.bare = columns != NULL
        b.unit = self.unit if count >= GROUP and stride >= ETH_HLEN + NATFAST_BYTES else NATFAST_NONE
        b.short_opening = self.program.early == 0
        b.short_way = b.short_opening and path.accepts
        b.rest = 0
        b.opening = path_of(self, iif, oif, CTSTATE_NEW)
        b.passed = b.octets = b.opened = b.opened_octets = 0
        b.held = False
        if times == NULL:
            self.clock(now)
        if b.unit != NATFAST_NONE:
            ordinary(&self.c, b.bare, &b.usual)
        for g in range(AHEAD):
            ahead[g].count = 0
            ahead[g].n_new = 0
            ahead[g].plain = ahead[g].known = ahead[g].unsure = 0
            for k in range(GROUP):
                ahead[g].packets.none[k] = 0
                ahead[g].packets.now[k] = self.c.now
        for g in range(2):                          # the rest is asked for on the way, two groups ahead
            fetch_frames(&b, g * GROUP, 0)
            fetch_frames(&b, g * GROUP, 1)
        # Three groups are under way: buckets are asked for before one is forwarded, and looked into afterwards; the entries that
        # they name while the next is forwarded, here and there; and so one later all that a packet needs has come.
        for g in range(groups + AHEAD - 1):
            fetch = &ahead[g % AHEAD]
            next = &ahead[(g + AHEAD - 1) % AHEAD]
            group = &ahead[(g + 1) % AHEAD]
            later = (g + 2) * GROUP
            fetch.count = 0
            fetch.n_new = 0
            fetch.together = False
            if g < groups:
                read_ahead(&self.c, &b, g * GROUP, fetch)
            place_ahead(&self.c, &b, fetch)
            fetch_frames(&b, later, 0)
            probe_ahead(&self.c, next)
            self.forward_group(&b, group, next, fetch)
            if columns != NULL and group.count:
                decompose_rows(group.packets.ip[0] - ETH_HLEN, columns.proto, group.first, group.count, translated, b.unit)
            match_ahead(&self.c, &b, fetch)
            fetch_frames(&b, later, 1)
        if times != NULL:
            self.clock(times[rows[count - 1] if rows != NULL else count - 1])
        path.packets += b.passed
        path.octets += b.octets
        count_path(self.program, b.opening, b.opened, b.opened_octets)
        sweep(&self.c, 8 + <uint32_t>count // 16)
        return b.held

    def forward_columns(self, columns, str iif, str oif, now=0.0):
        """Forward packets that are given as columns of numbers: flow records, a plan for capacity, a trace without payload.

        Parameters
        ----------
        columns : mapping of str to array (n,)
            `src`, `dst` (addresses, as uint32 or as text) and `proto` (uint8); optional `sport`, `dport` (uint16; of ICMP the identifier,
            and type << 8 | code), `length` (uint16, of the IP packet), and TCP's `flags` (uint8), `seq`, `ack` (uint32),
            `window` (uint16). A dict of arrays, lists or single values that are everybody's, or a DataFrame. TCP without flags is an ACK of a connection under way.
        iif, oif : str
            The interfaces that the packets come in by and leave by.
        now : float or float array (n,)
            Seconds; must not go back.

        Returns
        -------
        dict of str to array (n,)
            `verdict` (uint8: ACCEPT, DROP or REJECT) and the translated `src`, `dst`, `sport`, `dport`.

        Raises
        ------
        ValueError
            For a column that is missing, unknown, not of the others' length, or has a number out of range.
        """
        cdef dict held = {}
        cdef Columns c
        cdef np.npy_intp n
        cdef const double* each = NULL
        cdef double at = 0.0
        cdef int a = self.number(iif), b = self.number(oif)
        missing = [name for name in ("src", "dst", "proto") if name not in columns]
        if missing:
            raise ValueError(f"columns: {missing[0]} is missing")
        for name in columns:
            if name not in COLUMN_TYPES:
                raise ValueError(f"columns: {name} is not one of {', '.join(COLUMN_TYPES)}")
        n = next((len(columns[name]) for name in columns if numpy.ndim(columns[name])), 1)
        for name in columns:
            held[name] = column(name, columns[name], n)
        times = times_of(now, n, "packets")
        if times is None:
            at = now
        else:
            each = <const double*>np.PyArray_DATA(times)
        out = {"verdict": numpy.empty(n, numpy.uint8), "src": numpy.empty(n, numpy.uint32), "dst": numpy.empty(n, numpy.uint32),
               "sport": numpy.empty(n, numpy.uint16), "dport": numpy.empty(n, numpy.uint16)}
        c.src = <const uint32_t*>pointer(held, "src")
        c.dst = <const uint32_t*>pointer(held, "dst")
        c.sport = <const uint16_t*>pointer(held, "sport")
        c.dport = <const uint16_t*>pointer(held, "dport")
        c.proto = <const uint8_t*>pointer(held, "proto")
        c.length = <const uint16_t*>pointer(held, "length")
        c.flags = <const uint8_t*>pointer(held, "flags")
        c.seq = <const uint32_t*>pointer(held, "seq")
        c.ack = <const uint32_t*>pointer(held, "ack")
        c.window = <const uint16_t*>pointer(held, "window")
        cdef uint8_t* verdict = <uint8_t*>pointer(out, "verdict")
        cdef Translated translated
        translated.src = <uint32_t*>pointer(out, "src")
        translated.dst = <uint32_t*>pointer(out, "dst")
        translated.sport = <uint16_t*>pointer(out, "sport")
        translated.dport = <uint16_t*>pointer(out, "dport")
        cdef uint8_t frames[AHEAD * GROUP * BARE]
        cdef uint32_t lengths[AHEAD * GROUP]
        with nogil:
            self.forward_all(frames, BARE, lengths, NULL, n, a, b, at, each, NULL, verdict, &c, &translated)
        return out

    def hold(self, bytes frame, double now, int iif, int oif):
        whole = self.defrag.push(frame[14:14 + int.from_bytes(frame[16:18], "big")], now, iif)
        if whole is None:
            return
        cdef bytearray buf = bytearray(frame[:14] + whole.data)
        cdef uint32_t length
        self.clock(now)
        cdef int v = self.one(<uint8_t*><char*>buf, len(buf), len(buf) - ETH_HLEN, &length, iif, oif, 0, 0)
        self.whole.append((bytes(buf[:length]), v, whole.max_size, whole.sizes))

    def take_reassembled(self):
        """Datagrams completed since the last call: (frame, verdict, size of the largest fragment, sizes of all)."""
        out, self.whole = self.whole, []
        return out

    def observe_reply(self, buf, str iif, str oif, double now=0.0):
        """Let conntrack see an answer as it looks behind the translation.

        The frame in the writable `buf` (from `iif`'s side of a capture) is mapped back to what had come in by
        `oif`, and forwarded; True if it belongs to a known connection.
        """
        cdef Py_buffer view
        cdef bint known = False
        cdef int a = self.number(iif), b = self.number(oif)
        self.clock(now)
        PyObject_GetBuffer(buf, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        if view.len >= ETH_HLEN + 20:
            known = self.observe(<uint8_t*>view.buf, <uint32_t>view.len, 0, a, b)
        PyBuffer_Release(&view)
        return known

    cdef bint observe(self, uint8_t* frame, uint32_t length, uint32_t have, int iif, int oif) noexcept nogil:
        """`observe_reply` of a frame with an IPv4 header. `have`: see `one`."""
        cdef Tuple t, sent
        cdef uint32_t off, ref
        cdef Packet p
        cdef bint known = False
        memset(&p, 0, sizeof(Packet))
        p.data = frame + ETH_HLEN
        p.len = length - ETH_HLEN
        p.avail = p.len if have == 0 else have
        if parse_tuple(p.data, p.len, &t, &off) and invert(&t, &sent):
            ref = find_live(&self.c, &sent.h, sent.proto, ORIGINAL)
            if ref != 0 and ref & 1 == 0:
                known = rewrite(&p, 0, &self.c.table.entries[ref >> 1].tuple[1], t.proto, MANIP_DST)
                self.forward_one(frame, length, have, length - ETH_HLEN, oif, iif, &length)
        return known

    def packet(self, buf, int iif=0, int oif=0):
        """Forward one frame in a writable buffer, in place; returns its verdict.

        `iif` and `oif` are interface numbers (`interface_number`); the clock is the last one given.
        """
        cdef Py_buffer view
        cdef uint32_t n
        cdef int v
        if type(buf) is bytearray:
            n = <uint32_t>PyByteArray_GET_SIZE(buf)
            return self.forward_one(<uint8_t*>PyByteArray_AS_STRING(buf), n, 0, n - ETH_HLEN, iif, oif, &n)
        PyObject_GetBuffer(buf, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        v = self.forward_one(<uint8_t*>view.buf, <uint32_t>view.len, 0, <uint32_t>view.len - ETH_HLEN, iif, oif, &n)
        PyBuffer_Release(&view)
        return v

    cdef int forward_one(self, uint8_t* frame, uint32_t length, uint32_t have, uint32_t room, int iif, int oif,
                         uint32_t* out_length) noexcept nogil:
        """One frame by itself: as in a batch, but nothing is fetched ahead. `have`, `room`: see `one`."""
        cdef uint64_t m0, m1
        cdef uint32_t ref = probable_entry(&self.c, frame, length, &m0, &m1), n
        if ref != 0:
            n = forward_shortly(self, frame + ETH_HLEN, m0, m1, ref, iif, oif, have != 0)
            if n:
                out_length[0] = ETH_HLEN + n
                return NF_ACCEPT
        return self.one(frame, length, room, out_length, iif, oif, ref, have)

    cdef int skb_hook(self, int hook, Skb skb, str iif, str oif) except -1:
        cdef int v
        if skb.netfilter is not self and skb.p.ct != 0:
            raise ValueError("this packet holds a connection of another Netfilter")
        skb.netfilter = self
        skb.p.iif = self.number(iif) if iif else 0
        skb.p.oif = self.number(oif) if oif else 0
        v = self.run(hook, &skb.p)
        if v != NF_ACCEPT or hook == POSTROUTING or hook == LOCAL_IN:
            skb.release()
        return v

    def _hook(self, int hook, buf, str iif, str oif, double now):
        cdef Py_buffer view
        cdef Packet p
        cdef int v
        self.clock(now)
        if isinstance(buf, Skb):
            return self.skb_hook(hook, buf, iif, oif)
        memset(&p, 0, sizeof(Packet))
        PyObject_GetBuffer(buf, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        try:
            if view.len < ETH_HLEN + 20 or view.len < ETH_HLEN + ip_total(<uint8_t*>view.buf + ETH_HLEN):
                raise ValueError("expected an Ethernet frame with an IPv4 packet")
            p.data = <uint8_t*>view.buf + ETH_HLEN
            p.len = ip_total(p.data)
            p.avail = p.len
            p.room = <uint32_t>view.len - ETH_HLEN
            p.iif = self.number(iif) if iif else 0
            p.oif = self.number(oif) if oif else 0
            if hook != PREROUTING and hook != LOCAL_OUT:
                conntrack_in(&self.c, &p, False)
            v = self.run(hook, &p)
            conntrack_put(&self.c, &p)
            return v
        finally:
            PyBuffer_Release(&view)

    def prerouting(self, buf, str iif, double now=0.0):
        """One frame through PREROUTING alone, in place; returns the verdict.

        Of a bare buffer the hooks find the connection anew each time; an `Skb` keeps it from hook to hook, as a
        packet does that waits in a queue between them.
        """
        return self._hook(PREROUTING, buf, iif, "", now)

    def postrouting(self, buf, str oif, double now=0.0):
        """One frame through POSTROUTING alone, in place, found in conntrack by its present tuple."""
        return self._hook(POSTROUTING, buf, "", oif, now)

    def forwarding(self, buf, str iif, str oif, double now=0.0):
        """One frame through FORWARD alone."""
        return self._hook(FORWARD, buf, iif, oif, now)

    def local_in(self, buf, str iif, double now=0.0):
        """One frame through INPUT alone."""
        return self._hook(LOCAL_IN, buf, iif, "", now)

    def local_out(self, buf, str oif, double now=0.0):
        """One frame through OUTPUT alone."""
        return self._hook(LOCAL_OUT, buf, "", oif, now)

    # --- what there is -----------------------------------------------------------------------------

    def conntrack(self, now=None):
        """The table as `conntrack -L` prints it, single-spaced, sorted by tuple."""
        cdef uint32_t i
        cdef Entry* e
        cdef list lines = []
        if now is not None:
            self.clock(now)
        for i in range(1, self.c.table.fresh):
            e = &self.c.table.entries[i]
            if e.status & IPS_CONFIRMED and not expired(e, self.c.now):
                lines.append(entry_text(e, self.c.now, self.c.sysctl.acct))
        lines.sort(key=lambda line: line.split(" src=", 1)[1])
        return lines

    def occupancy(self, now=None):
        """Connections by protocol and state, as {"tcp ESTABLISHED": 3, "udp UNREPLIED": 1, ...}."""
        cdef uint32_t i
        cdef Entry* e
        cdef dict out = {}
        if now is not None:
            self.clock(now)
        for i in range(1, self.c.table.fresh):
            e = &self.c.table.entries[i]
            if not e.status & IPS_CONFIRMED or expired(e, self.c.now):
                continue
            key = f"{PROTOCOL_NAMES.get(e.proto, e.proto)} {state_name(e)}"
            out[key] = out.get(key, 0) + 1
        return dict(sorted(out.items()))

    def source_ports(self, now=None):
        """Source ports in use, by what each can be used for but once.

        Returns
        -------
        dict
            (protocol, address that connections seem to come from, destination, its port) ->
            {"states": {"ESTABLISHED": 3, ...}, "low": lowest port in use, "high": highest}, of TCP and UDP connections whose
            source is translated.
        """
        cdef uint32_t i
        cdef Entry* e
        cdef dict out = {}
        cdef dict used
        if now is not None:
            self.clock(now)
        for i in range(1, self.c.table.fresh):
            e = &self.c.table.entries[i]
            if (not e.status & IPS_CONFIRMED or expired(e, self.c.now) or not e.status & IPS_SRC_NAT
                    or e.proto != IPPROTO_TCP and e.proto != IPPROTO_UDP):
                continue
            key = (e.proto, e.tuple[1].dst, e.tuple[1].src, e.tuple[1].sport)
            used = out.get(key)
            if used is None:
                used = out[key] = {"states": {}, "low": e.tuple[1].dport, "high": e.tuple[1].dport}
            used["low"] = min(used["low"], e.tuple[1].dport)
            used["high"] = max(used["high"], e.tuple[1].dport)
            state = state_name(e)
            used["states"][state] = used["states"].get(state, 0) + 1
        return {(PROTOCOL_NAMES[p], str(ipaddress.IPv4Address(a)), str(ipaddress.IPv4Address(b)), port): used
                for (p, a, b, port), used in out.items()}

    def chain_lengths(self):
        """How many of the index's buckets have a chain of 1, 2, ... bucket lengths (index 0 is empty): how evenly tuples spread."""
        cdef Table* t = &self.c.table
        cdef Bucket* b
        cdef uint32_t i
        cdef int n
        cdef list counts = [0, 0]
        for i in range(t.n_buckets):
            n = 1
            b = &t.buckets[i]
            while b.next != 0:
                b = &t.spill[b.next]
                n += 1
            while len(counts) <= n:
                counts.append(0)
            counts[n] += 1
        return counts

    def flush_conntrack(self):
        """Delete every entry, as `conntrack -F`."""
        table_clear(&self.c.table)

    def flush(self):
        """Delete every entry, and the fragments that wait for others."""
        table_clear(&self.c.table)
        self.defrag.clear()

    def expire(self, double now):
        """Delete every expired entry; returns how many."""
        self.clock(now)
        return sweep_all(&self.c)

    def sysctl(self, str name):
        """Value of a conntrack setting."""
        return sysctl_get(&self.c.sysctl, name)

    def set_sysctl(self, str name, value):
        """Change a conntrack setting."""
        sysctl_set(&self.c.sysctl, name, value)

    def adopt(self, ports):
        """Ports (or ICMP ids) that another host drew at random: tried first where a draw is due.

        Only for replaying recorded traffic; at most eight are kept.
        """
        cdef int i = 0
        for port in list(ports)[:8]:
            self.c.adopt[i] = port
            i += 1
        self.c.n_adopt = i

    @property
    def rules(self):
        """The ruleset."""
        return self.compiled.rules

    def replace_rules(self, rules):
        """Put other rules in force from now on, as `iptables-restore`; a rule that stays keeps its counters.

        Connections that are known keep the translation that was decided for them.
        """
        cdef int n
        compiled = Compiled(rules)
        for n in range(1, len(self.names)):
            compiled.register(n, self.names[n])
        self.settle()
        compiled.take_counters(self.compiled)
        self.compiled = compiled
        self.program = &self.compiled.p
        for n in range(PATHS):
            self.paths[n].key = 0xFFFFFFFFU

    def delete_conntrack(self, protocol=None, src=None, dst=None, sport=None, dport=None):
        """Delete the entries whose original tuple has all that is given, as `conntrack -D -p udp --orig-dst ...`; how many.

        Parameters
        ----------
        protocol : int, optional
        src, dst : str, optional
            Addresses, dotted.
        sport, dport : int, optional
        """
        cdef Wanted w = wanted(protocol, src, dst, sport, dport)
        return delete_matching(&self.c, &w)

    def rule_counters(self):
        """(table, chain, rule, packets, bytes) of every rule, as `iptables -nvL` counts."""
        counts = self.counts()
        return [(table, name, rule.text(name), *count) for table, chains in self.rules.tables.items() for name, chain in chains.items()
                for rule, count in zip(chain.rules, counts[table, name][1:])]

    def iptables_save(self):
        """The rules in force with what they have counted, as `iptables-save -c` prints them."""
        return self.rules.to_iptables_save(self.counts())

    def counts(self):
        """What every chain's policy and rules have counted (`natfast.rules.Counts`)."""
        self.settle()
        return self.compiled.counts()

    def log(self):
        """(seconds, line) of what LOG rules and a full table said, as the kernel's log has it; the last 1024 are kept."""
        return log_lines(&self.c.log, self.names, self.compiled.log_options)

    @property
    def stats(self):
        """Counters as `conntrack -S` shows, rules walked, packets logged, the table's size, and the most entries since it was empty."""
        cdef dict s = self.c.stats
        self.settle()
        s["rules_walked"] = self.program.walked
        s["logged"] = self.c.log.count
        s["entries"] = self.c.table.count
        s["peak"] = self.c.table.fresh - 1      # entries are taken anew only when none is free
        s["bytes"] = table_bytes(&self.c.table)
        return s

    def __len__(self):
        return self.c.table.count
