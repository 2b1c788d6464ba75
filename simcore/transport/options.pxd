"""TCP's options: MSS (RFC 9293), window scale and timestamps (RFC 7323), SACK (RFC 2018)."""
from libc.stdint cimport uint8_t, uint32_t
from natfast.headers cimport be32
from simcore.transport.reassembly cimport Range

cdef enum:
    TIMESTAMPS = 12                     # bytes that they take, aligned
    SACKS = 4                           # and SACK blocks, besides 8 each
    ALIGNED_TIMESTAMPS = 0x0101080A     # two NOPs, kind and length

ctypedef struct Options:                # of a received segment
    bint has_ts
    uint32_t tsval
    uint32_t tsecr
    int mss
    int scale                           # -1: none
    bint sack_permitted
    const uint8_t* sacks
    int n_sacks

cdef void options_parse_all(const uint8_t* t, Options* p) noexcept nogil
cdef int options_emit_syn(uint8_t* o, int mss, bint sack, bint timestamps, uint32_t tsval, uint32_t tsecr, int scale) noexcept nogil
cdef int options_emit(uint8_t* o, bint timestamps, uint32_t tsval, uint32_t tsecr, const Range* block, int n_blocks) noexcept nogil


cdef inline void options_parse(const uint8_t* t, Options* p) noexcept nogil:
    """Those of the segment whose header begins at `t`; what only a SYN carries is not filled in where there are but timestamps."""
    p.has_ts = False
    p.sacks = NULL
    p.n_sacks = 0
    if t[12] >> 4 == 8 and be32(t + 20) == ALIGNED_TIMESTAMPS:      # nearly always
        p.has_ts = True
        p.tsval = be32(t + 24)
        p.tsecr = be32(t + 28)
    else:
        options_parse_all(t, p)
