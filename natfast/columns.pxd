"""Packets as columns of numbers, and the bare headers that the core works on: one made from the other and back.

A header made here has no checksums, and of the payload it has only the length.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memset
from natfast.headers cimport ETH_HLEN, IPPROTO_ICMP, IPPROTO_SCTP, IPPROTO_TCP, be16, be32, put16, put32
from natfast.table cimport prefetch

cdef enum:
    BARE = 64                   # bytes of a bare frame's row: the longest header is 54

# What becomes of packets that are columns.
ctypedef struct Translated:
    uint32_t* src
    uint32_t* dst
    uint16_t* sport
    uint16_t* dport

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


cdef inline void decompose(const uint8_t* frame, size_t i, const Translated* out) noexcept nogil:
    cdef const uint8_t* ip = frame + ETH_HLEN
    cdef const uint8_t* l4 = ip + 20
    out.src[i] = be32(ip + 12)
    out.dst[i] = be32(ip + 16)
    if ip[9] == IPPROTO_ICMP:
        out.sport[i] = be16(l4 + 4)
        out.dport[i] = be16(l4)
    else:
        out.sport[i] = be16(l4)
        out.dport[i] = be16(l4 + 2)


cdef inline void fetch_column(const void* column, size_t at) noexcept nogil:
    """Ask for the cache line that is so many bytes into a column, if it is given."""
    if column != NULL:
        prefetch(<const char*>column + at)


cdef inline void fetch_rows(const Columns* c, const Translated* out, size_t i) noexcept nogil:
    """Ask for NATFAST_MANY rows from `i` on, a cache line of each column: by itself the processor follows fewer streams."""
    fetch_column(c.src, 4 * i)
    fetch_column(c.dst, 4 * i)
    fetch_column(c.sport, 2 * i)
    fetch_column(c.dport, 2 * i)
    fetch_column(c.proto, i)
    fetch_column(c.length, 2 * i)
    fetch_column(c.flags, i)
    fetch_column(c.seq, 4 * i)
    fetch_column(c.ack, 4 * i)
    fetch_column(c.window, 2 * i)
    fetch_column(out.src, 4 * i)
    fetch_column(out.dst, 4 * i)
    fetch_column(out.sport, 2 * i)
    fetch_column(out.dport, 2 * i)


cdef inline void compose_rows(const Columns* c, size_t first, size_t n, uint8_t* frames, uint32_t* lengths, int unit) noexcept nogil:
    """Make bare frames of `n` rows, up to NATFAST_MANY."""
    cdef size_t i
    if n < NATFAST_MANY or not compose_many(c, first, frames, lengths, unit):
        for i in range(n):
            lengths[i] = compose(c, first + i, frames + i * BARE)


cdef inline void decompose_rows(uint8_t* frames, const uint8_t* proto, size_t first, size_t n, const Translated* out, int unit) noexcept nogil:
    """Read what became of `n` rows."""
    cdef size_t i
    if n < NATFAST_MANY or not decompose_many(frames, proto + first, out.src + first, out.dst + first, out.sport + first, out.dport + first,
                                              unit):
        for i in range(n):
            decompose(frames + i * BARE, first + i, out)
