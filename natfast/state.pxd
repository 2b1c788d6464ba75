"""What one network namespace's conntrack consists of: table, settings, counters, clock, randomness."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from natfast.log cimport Log
from natfast.sysctl cimport Sysctl
from natfast.table cimport Entry, IPS_SEEN_REPLY, Table

# `conntrack -S`'s counters.
ctypedef struct Stats:
    uint64_t found
    uint64_t invalid
    uint64_t insert
    uint64_t insert_failed
    uint64_t drop
    uint64_t early_drop
    uint64_t expired
    uint64_t table_full
    uint64_t clash_resolve

ctypedef struct Conntrack:
    Table table
    Sysctl sysctl
    Stats stats
    uint64_t rng
    uint32_t now                # ms
    uint32_t swept              # ms: when all blocks were last seen to
    uint16_t adopt[8]           # ports another host is known to have drawn, tried first
    uint32_t n_adopt
    uint32_t masquerading_as    # the last address that MASQUERADE or SNAT gave, to guess where the next reply tuple will be
    Log log                     # what LOG rules and a full table said
    uint32_t full_since         # ms: start of the interval in which "table full" is said ten times at most
    uint32_t full_said

# What a protocol tracker says of a packet.
cdef enum:                      # Track_
    TRACK_UNCOUNTED = 2         # goes on with its connection, whose timeout and counters it does not move
    TRACK_ACCEPT = 1
    TRACK_INVALID = 0           # -NF_ACCEPT: goes on without a connection
    TRACK_REPEAT = -1           # entry was deleted: look up again


cdef inline uint32_t milliseconds(double now) noexcept nogil:
    """A clock's seconds as conntrack counts them."""
    return <uint32_t><unsigned long long>(now * 1000.0 + 1e-6)


cdef inline uint32_t random32(Conntrack* c) noexcept nogil:
    """SplitMix64 (Steele et al. 2014), upper half."""
    c.rng += 0x9E3779B97F4A7C15ULL
    cdef uint64_t z = c.rng
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL
    return <uint32_t>((z ^ (z >> 31)) >> 32)


cdef inline bint expired(const Entry* e, uint32_t now) noexcept nogil:
    return <int>(e.expires - now) <= 0


cdef inline void count_packet(Entry* e, int dir, uint32_t length) noexcept nogil:
    e.packets[dir] += 1
    e.bytes[dir] += length


cdef inline void heard(Entry* e, int dir, int verdict, uint32_t length) noexcept nogil:
    """What a packet that its tracker lets go on leaves in its entry."""
    if verdict != TRACK_UNCOUNTED:
        count_packet(e, dir, length)
    if dir:
        e.status |= IPS_SEEN_REPLY
