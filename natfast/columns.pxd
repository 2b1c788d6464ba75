"""Packets as columns of numbers, and the bare headers that the core works on: one made from the other and back.

A header made here has no checksums, and of the payload it has only the length.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memset
from natfast.headers cimport ETH_HLEN, IPPROTO_ICMP, IPPROTO_SCTP, IPPROTO_TCP, be16, be32, put16, put32

cdef enum:
    BARE = 64                   # bytes of a bare frame's row: the longest header is 54
    BARE_ROWS = 256             # made at a time, so that they stay in the first-level cache

cdef extern from "forward_many.h" nogil:
    enum:
        NATFAST_MANY
    ctypedef struct Columns "natfast_columns":
        const uint32_t* src
        const uint32_t* dst
        const uint16_t* sport
        const uint16_t* dport
        const uint8_t* proto
        const uint16_t* length
        const uint8_t* flags
        const uint32_t* seq
        const uint32_t* ack
        const uint16_t* window
    uint32_t compose_many "natfast_compose_many"(const Columns* c, size_t i, uint8_t* row, uint32_t* length, int unit)
    uint32_t decompose_many "natfast_decompose_many"(uint8_t* row, const uint8_t* proto, uint32_t* src, uint32_t* dst, uint16_t* sport,
                                                      uint16_t* dport, int unit)


cdef inline uint32_t compose(const Columns* c, size_t i, uint8_t* frame) noexcept nogil:
    """Make a bare frame of row `i`; its length."""
    cdef uint8_t* ip = frame + ETH_HLEN
    cdef uint8_t* l4 = ip + 20
    cdef uint32_t proto = c.proto[i], least = 40 if proto == IPPROTO_TCP else 32 if proto == IPPROTO_SCTP else 28
    cdef uint32_t sport = c.sport[i] if c.sport != NULL else 0, dport = c.dport[i] if c.dport != NULL else 0
    cdef uint32_t total = c.length[i] if c.length != NULL else least
    total = total if total > least else least
    memset(frame, 0, BARE)
    put16(frame + 12, 0x0800)
    ip[0] = 0x45
    put16(ip + 2, total)
    ip[8] = 64
    ip[9] = <uint8_t>proto
    put32(ip + 12, c.src[i])
    put32(ip + 16, c.dst[i])
    if proto == IPPROTO_ICMP:
        put16(l4, dport)
        put16(l4 + 4, sport)
    else:
        put32(l4, sport << 16 | dport)
        if proto == IPPROTO_TCP:
            put32(l4 + 4, c.seq[i] if c.seq != NULL else 0)
            put32(l4 + 8, c.ack[i] if c.ack != NULL else 0)
            put16(l4 + 12, 0x5000 | (c.flags[i] if c.flags != NULL else 0x10))
            put16(l4 + 14, c.window[i] if c.window != NULL else 0xFFFF)
        else:
            put16(l4 + 4, total - 20)
    return ETH_HLEN + total


cdef inline void decompose(const uint8_t* frame, size_t i, uint32_t* src, uint32_t* dst, uint16_t* sport, uint16_t* dport) noexcept nogil:
    cdef const uint8_t* ip = frame + ETH_HLEN
    cdef const uint8_t* l4 = ip + 20
    src[i] = be32(ip + 12)
    dst[i] = be32(ip + 16)
    if ip[9] == IPPROTO_ICMP:
        sport[i] = be16(l4 + 4)
        dport[i] = be16(l4)
    else:
        sport[i] = be16(l4)
        dport[i] = be16(l4 + 2)


cdef inline void compose_rows(const Columns* c, size_t first, size_t n, uint8_t* frames, uint32_t* lengths, int unit) noexcept nogil:
    """Make bare frames of `n` rows."""
    cdef size_t i = 0, end
    while i < n:
        if i + NATFAST_MANY <= n and compose_many(c, first + i, frames + i * BARE, lengths + i, unit):
            i += NATFAST_MANY
            continue
        end = i + NATFAST_MANY if i + NATFAST_MANY < n else n
        while i < end:
            lengths[i] = compose(c, first + i, frames + i * BARE)
            i += 1


cdef inline void decompose_rows(uint8_t* frames, const uint8_t* proto, size_t first, size_t n, uint32_t* src, uint32_t* dst,
                                uint16_t* sport, uint16_t* dport, int unit) noexcept nogil:
    """Read what became of `n` rows."""
    cdef size_t i = 0, end
    while i < n:
        if i + NATFAST_MANY <= n and decompose_many(frames + i * BARE, proto + first + i, src + first + i, dst + first + i, sport + first + i,
                                          dport + first + i, unit):
            i += NATFAST_MANY
            continue
        end = i + NATFAST_MANY if i + NATFAST_MANY < n else n
        while i < end:
            decompose(frames + i * BARE, first + i, src, dst, sport, dport)
            i += 1
