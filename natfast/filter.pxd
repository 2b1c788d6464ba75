"""Rules as the packet path walks them: flat arrays of rules and matches."""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from natfast.limits cimport Connlimit, Hashlimit
from natfast.nat cimport NatRange
from natfast.packet cimport FORWARD, POSTROUTING, PREROUTING, Packet
from natfast.state cimport Conntrack

cdef enum:                      # Verdict
    NF_DROP = 0
    NF_ACCEPT = 1
    NF_STOLEN = 2
    NF_REJECT = 3

cdef enum:
    MAX_ADDRESSES = 64
    MAX_INTERFACES = 16384

ctypedef struct Address:
    uint32_t address
    uint32_t mask
    uint16_t interface

# What rules may ask about the host: its addresses.
ctypedef struct Host:
    Address address[64]
    uint32_t n

ctypedef struct CMatch:
    uint8_t kind
    uint8_t invert
    uint16_t n
    uint32_t a
    uint32_t b
    uint32_t c
    double rate
    double credit
    double last
    uint16_t port[30]

ctypedef struct CRule:
    uint32_t src
    uint32_t src_mask
    uint32_t dst
    uint32_t dst_mask
    uint16_t iif                # interface pattern + 1, 0 if any
    uint16_t oif
    uint16_t proto
    uint8_t invert              # bits: src dst iif oif proto
    uint8_t target
    uint32_t first_match
    uint16_t n_matches
    uint16_t goto_
    int32_t arg                 # chain, range, or number
    uint32_t arg2
    uint64_t packets
    uint64_t bytes

ctypedef struct CChain:
    uint32_t first
    uint32_t n
    uint8_t policy              # Verdict, or 255: RETURN (user chain)
    uint64_t packets
    uint64_t bytes

ctypedef struct Program:
    CRule* rules
    CMatch* matches
    CChain* chains
    NatRange* ranges
    Hashlimit* hashlimits       # of all names
    Connlimit* connlimits       # of all matches
    uint32_t n_hashlimits
    uint32_t n_connlimits
    int32_t base[4][5]          # chain of (table, hook), -1 if none
    uint32_t early              # rules and policies of raw and mangle that a forwarded packet meets
    uint32_t listed             # chains of theirs that it meets, the empty ones too
    uint8_t* interface_match    # [pattern * MAX_INTERFACES + interface]
    uint32_t n_patterns
    uint64_t walked             # rules looked at, all packets together

cdef enum:                      # CtState, as --ctstate names them
    CTSTATE_INVALID = 1
    CTSTATE_ESTABLISHED = 2
    CTSTATE_RELATED = 4
    CTSTATE_NEW = 8
    CTSTATE_UNTRACKED = 16
    CTSTATE_SNAT = 32
    CTSTATE_DNAT = 64

# What FORWARD does with every packet of one connection state between two interfaces, if that is the same for all of them.
ctypedef struct Path:
    uint32_t key                # interfaces it was found for
    uint32_t state              # and the connection's state, as rules' --ctstate bits
    bint accepts                # all are accepted; else the chain has to be walked
    uint32_t walked             # rules looked at on the way
    uint32_t n
    CRule* rule[16]             # those that match, to be counted
    CChain* chain               # whose policy decides in the end, or NULL
    uint64_t packets            # that took it and are still to be counted where they belong, and their bytes
    uint64_t octets

cdef enum:                      # TableId
    TABLE_RAW = 0
    TABLE_MANGLE = 1
    TABLE_NAT = 2
    TABLE_FILTER = 3

cdef class Compiled:
    cdef Program p
    cdef readonly object rules
    cdef list patterns
    cdef list chain_names
    cdef list rule_refs
    cdef list log_options       # of each LOG rule: prefix, level, ...
    cdef int compile_rule(self, CRule* r, object rule, str table, dict numbers, list matches, list ranges) except -1
    cdef int fill_match(self, CMatch* m, object spec) except -1
    cdef int fill_hashlimit(self, Hashlimit* h, object spec) except -1
    cdef int register(self, int number, str name) except -1

cdef inline void count_path(Program* p, const Path* path, uint64_t packets, uint64_t octets) noexcept nogil:
    """Count packets that did not walk as if they had."""
    cdef uint32_t i
    for i in range(path.n):
        path.rule[i].packets += packets
        path.rule[i].bytes += octets
    if path.chain != NULL:
        path.chain.packets += packets
        path.chain.bytes += octets
    p.walked += packets * path.walked


cdef inline void count_empty(Program* p, int hook, uint64_t packets, uint64_t octets) noexcept nogil:
    """Count packets that pass a hook's raw and mangle, of which no chain has a rule."""
    cdef int32_t number
    if p.listed:
        number = p.base[TABLE_RAW][hook]
        if number >= 0:
            p.chains[number].packets += packets
            p.chains[number].bytes += octets
        number = p.base[TABLE_MANGLE][hook]
        if number >= 0:
            p.chains[number].packets += packets
            p.chains[number].bytes += octets


cdef inline void settle(Program* p, Path* path) noexcept nogil:
    """Count where they belong the packets that were forwarded on a path, and met nothing before and behind it."""
    if path.packets:
        count_empty(p, PREROUTING, path.packets, path.octets)
        count_empty(p, FORWARD, path.packets, path.octets)
        count_path(p, path, path.packets, path.octets)
        count_empty(p, POSTROUTING, path.packets, path.octets)
        path.packets = 0
        path.octets = 0


cdef void find_path(Program* p, uint32_t iif, uint32_t oif, uint32_t state, Path* out) noexcept nogil
cdef int walk(Program* p, int table, int hook, Conntrack* c, Packet* k, const Host* host) noexcept nogil

cdef enum:                              # types of addresses, a bit each (`ADDRTYPES` of natfast.values)
    ADDR_UNICAST = 2
    ADDR_LOCAL = 4
    ADDR_BROADCAST = 8
    ADDR_MULTICAST = 32

cdef uint32_t address_type(const Host* host, uint32_t address) noexcept nogil
