"""Connection tracking's hooks: find or create the packet's connection, track it, confirm it."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from natfast.headers cimport IPPROTO_TCP, be32, ip_total
from natfast.packet cimport Packet
from natfast.state cimport Conntrack, count_packet, expired
from natfast.table cimport BLOCK, Entry, settled, table_alloc, table_find
from natfast.tcp cimport tcp_opened
from natfast.trackers cimport udp_opened
from natfast.tuples cimport Half, Tuple, half_equal, half_of_words
from natfast.wide cimport rotate16, rotate32

cdef enum:                      # CtVerdict
    CT_DROP = 0
    CT_ACCEPT = 1

cdef enum:
    SWEEP = 2                   # entries looked at for expiry with each new one
    GATHER = 16                 # entries that are deleted together
    TUPLES = 3                  # that an entry is found by: original, reply, source

ctypedef struct Condemned:
    uint32_t entry[GATHER]
    uint64_t m0[TUPLES * GATHER]
    uint64_t m1[TUPLES * GATHER]
    uint64_t hash[TUPLES * GATHER]
    uint32_t n

# Entries on their way out: while one half's buckets and chains are fetched, the other half is taken out of them.
ctypedef struct Doomed:
    Condemned half[2]
    uint32_t filling
    uint32_t count

# What `conntrack -D` asks of an entry's original tuple; -1 for anything.
ctypedef struct Wanted:
    int64_t protocol
    int64_t src
    int64_t dst
    int64_t sport
    int64_t dport

cdef inline void doomed_init(Doomed* d) noexcept nogil:
    d.half[0].n = 0
    d.half[1].n = 0
    d.filling = 0
    d.count = 0

cdef int conntrack_in(Conntrack* c, Packet* p, bint at_prerouting) noexcept nogil
cdef int conntrack_confirm(Conntrack* c, Packet* p) noexcept nogil
cdef void conntrack_attach(Packet* p, const Packet* cause) noexcept nogil
cdef void conntrack_put(Conntrack* c, Packet* p) noexcept nogil
cdef int track(Conntrack* c, uint32_t ei, Packet* p, uint32_t off, int dir, bint at_prerouting) noexcept nogil
cdef void kill(Conntrack* c, uint32_t ei) noexcept nogil
cdef void buried(Conntrack* c, uint32_t ei) noexcept nogil
cdef void sweep_blocks(Conntrack* c) noexcept nogil
cdef bint make_room(Conntrack* c) noexcept nogil
cdef uint32_t sweep_all(Conntrack* c) noexcept nogil
cdef uint32_t delete_matching(Conntrack* c, const Wanted* w) noexcept nogil


cdef inline uint32_t find_live(Conntrack* c, const Half* h, uint32_t proto, uint32_t role) noexcept nogil:
    """Reference of the entry with this tuple (`table_find`); an expired one is deleted on sight."""
    cdef uint32_t ref = table_find(&c.table, h, proto, role)
    if ref != 0 and expired(&c.table.entries[ref >> 1], c.now):
        buried(c, ref >> 1)
        return 0
    return ref


cdef inline void sweep(Conntrack* c, uint32_t budget) noexcept nogil:
    """Look at the next `budget` entries, or so, and delete those that have expired."""
    c.table.credit += budget
    if c.table.credit >= BLOCK:
        sweep_blocks(c)


cdef inline bint is_full(const Conntrack* c) noexcept nogil:
    return c.sysctl.max != 0 and c.table.count >= c.sysctl.max


cdef inline uint32_t entry_for_new(Conntrack* c) noexcept nogil:
    """An entry of zeros for a new connection, 0 if there is no room; some others are looked at for expiry on the way."""
    sweep(c, SWEEP)
    return table_alloc(&c.table) if not is_full(c) or make_room(c) else 0


cdef inline void open_entry(Conntrack* c, Entry* e, const uint8_t* ip, uint64_t m0, uint64_t m1) noexcept nogil:
    """What `conntrack_in` does with the new entry of an ordinary first packet of TCP or UDP; `m0`, `m1`: its tuple."""
    cdef const uint8_t* th = ip + 20
    half_of_words(m0, m1, &e.tuple[0])
    half_of_words(rotate32(m0), rotate16(<uint32_t>m1), &e.tuple[1])
    e.proto = <uint8_t>(m1 >> 32)
    if e.proto == IPPROTO_TCP:
        tcp_opened(c, e, th, be32(th + 4) + ip_total(ip) - 20 - (th[12] >> 4) * 4 + 1)
    else:
        udp_opened(c, e)
    count_packet(e, 0, ip_total(ip))


cdef inline bint still_there(Conntrack* c, uint32_t ref, const Tuple* t) noexcept nogil:
    """Is this the live entry of the tuple? A hint may be of another tuple, or out of date."""
    cdef Entry* e = &c.table.entries[ref >> 1]
    return (settled(e) and e.proto == t.proto
            and half_equal(&e.tuple[ref & 1], &t.h) and not expired(e, c.now))
