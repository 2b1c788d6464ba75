"""Netfilter: one namespace's rules, conntrack and NAT behind the five hooks."""
cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from natfast.fastpath cimport ORDINARY, UNANSWERED, forward_known, header_whole, transport_sound
from natfast.batch cimport Ahead, Batch
from natfast.columns cimport Columns, Translated
from natfast.conntrack cimport Wanted
from natfast.filter cimport CTSTATE_ESTABLISHED, CTSTATE_NEW, Compiled, Host, Path, Program
from natfast.packet cimport Packet
from natfast.state cimport Conntrack
from natfast.table cimport IPS_SEEN_REPLY

cdef enum:
    PATHS = 64

cdef Wanted wanted(protocol, src, dst, sport, dport) except *

cdef class Skb:
    cdef bytearray data
    cdef Packet p
    cdef Netfilter netfilter
    cdef void release(self) noexcept

@cython.final
cdef class Netfilter:
    cdef Conntrack c
    cdef Host host
    cdef Program* program
    cdef Compiled compiled
    cdef dict numbers
    cdef list names
    cdef uint16_t* mtus         # by interface number
    cdef Path paths[PATHS]         # by interfaces, one per slot
    cdef int unit               # vector unit that groups of packets are forwarded with
    cdef Packet* unconfirmed    # where the next connection that leaves is left to be confirmed later; NULL: it is at once
    cdef Path* find_path(self, uint32_t iif, uint32_t oif, uint32_t state) noexcept nogil
    cdef void settle(self) noexcept nogil
    cdef int filter_forward(self, Packet* p) noexcept nogil
    cdef int forward_one(self, uint8_t* frame, uint32_t length, uint32_t have, uint32_t room, int iif, int oif, uint32_t* out_length) noexcept nogil
    cdef bint observe(self, uint8_t* frame, uint32_t length, uint32_t have, int iif, int oif) noexcept nogil
    cdef int skb_hook(self, int hook, Skb skb, str iif, str oif) except -1
    cdef object defrag
    cdef list whole
    cdef int run(self, int hook, Packet* p) noexcept nogil
    cdef bint translates(self, const Packet* p) noexcept nogil
    cdef bint confirm(self, Packet* p) noexcept nogil
    cdef void put(self, Packet* p) noexcept nogil
    cdef void clock(self, double now) noexcept nogil
    cdef int number(self, str name) except -1
    cdef int established(self, Packet* p, int oif) noexcept nogil
    cdef int first(self, Batch* b, uint8_t* ip, uint64_t m0, uint64_t m1, bint sound, uint32_t* out_length) noexcept nogil
    cdef inline void packet_from(self, Packet* p, uint8_t* ip, uint32_t room, int iif, int oif, uint32_t have) noexcept nogil
    cdef int one(self, uint8_t* frame, uint32_t length, uint32_t room, uint32_t* out_length, int iif, int oif, uint32_t hint, uint32_t have) noexcept nogil
    cdef void forward_group(self, Batch* b, Ahead* group, const Ahead* next, const Ahead* fetch) noexcept nogil
    cdef bint forward_all(self, uint8_t* frames, size_t stride, uint32_t* lengths, const uint32_t* rows, size_t count, int iif, int oif, double now, const double* times, const uint8_t* macs, uint8_t* verdicts, const Columns* columns, const Translated* translated) noexcept nogil


cdef inline Path* path_of(Netfilter nf, uint32_t iif, uint32_t oif, uint32_t state) noexcept nogil:
    """What FORWARD does with packets of a state from one interface to another; found once."""
    cdef Path* path = path_place(nf, iif, oif, state)
    return path if path.key == (iif << 16 | oif) and path.state == state else nf.find_path(iif, oif, state)


cdef inline Path* path_place(Netfilter nf, uint32_t iif, uint32_t oif, uint32_t state) noexcept nogil:
    return &nf.paths[(iif * 31 + oif + state) % PATHS]


cdef inline uint32_t forward_shortly(Netfilter nf, uint8_t* ip, uint64_t m0, uint64_t m1, uint32_t ref, int iif, int oif,
                                     bint bare) noexcept nogil:
    """What `run` does at the three hooks, and TTL, at once: for an ordinary packet of the connection that `ref` names; its length.

    0, with nothing changed, if it is none, or rules look at more than its connection's state. `m0`, `m1`: as of `forward_known`; `bare`:
    there are no checksums to verify, and no payload in memory.
    """
    cdef uint32_t state = CTSTATE_ESTABLISHED, standing = ORDINARY, length
    cdef Path* path
    if nf.program.early:
        return 0
    if not nf.c.table.entries[ref >> 1].status & IPS_SEEN_REPLY:
        if ref & 1:
            return 0                                # the first answer changes the connection's standing
        state = CTSTATE_NEW
        standing = UNANSWERED
    path = path_of(nf, iif, oif, state)
    if not path.accepts or not header_whole(ip, bare):
        return 0
    length = forward_known(&nf.c, ip, m0, m1, ref, standing, transport_sound(&nf.c, ip, m1, bare))
    path.packets += length != 0
    path.octets += length
    return length
