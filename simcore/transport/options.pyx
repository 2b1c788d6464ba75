from natfast.headers cimport (TCPOPT_MSS, TCPOPT_NOP, TCPOPT_SACK, TCPOPT_SACK_PERM, TCPOPT_TIMESTAMP, TCPOPT_WINDOW, be16, be32, put16, put32,
                              tcp_option_first, tcp_option_next)

cdef enum:
    DEFAULT_MSS = 536                   # of who names none (RFC 9293 3.7.1)
    LARGEST_SCALE = 14

cdef uint32_t ALIGNED_SACK = 0x01010500 # two NOPs, kind, and no length


cdef void options_parse_all(const uint8_t* t, Options* p) noexcept nogil:
    """Whatever they are; see `options_parse`."""
    cdef int left
    cdef const uint8_t* o
    p.mss = DEFAULT_MSS
    p.scale = -1
    p.sack_permitted = False
    o = tcp_option_first(t, &left)
    while o != NULL:
        if o[0] == TCPOPT_MSS and o[1] == 4:
            p.mss = be16(o + 2)
        elif o[0] == TCPOPT_WINDOW and o[1] == 3:
            p.scale = min(o[2], <int>LARGEST_SCALE)
        elif o[0] == TCPOPT_SACK_PERM and o[1] == 2:
            p.sack_permitted = True
        elif o[0] == TCPOPT_SACK and o[1] >= 10 and (o[1] - 2) % 8 == 0:
            p.sacks = o + 2
            p.n_sacks = (o[1] - 2) // 8
        elif o[0] == TCPOPT_TIMESTAMP and o[1] == 10:
            p.has_ts = True
            p.tsval = be32(o + 2)
            p.tsecr = be32(o + 6)
        o = tcp_option_next(o, &left)


cdef int options_emit_syn(uint8_t* o, int mss, bint sack, bint timestamps, uint32_t tsval, uint32_t tsecr, int scale) noexcept nogil:
    """A SYN's, in Linux's order: MSS, SACK permitted and timestamps, window scale (none if negative); returns their length."""
    cdef int n = 4
    o[0] = TCPOPT_MSS
    o[1] = 4
    put16(o + 2, mss)
    if timestamps:
        o[n] = TCPOPT_SACK_PERM if sack else TCPOPT_NOP
        o[n + 1] = 2 if sack else TCPOPT_NOP
        o[n + 2] = TCPOPT_TIMESTAMP
        o[n + 3] = 10
        put32(o + n + 4, tsval)
        put32(o + n + 8, tsecr)
        n += 12
    elif sack:
        o[n] = o[n + 1] = TCPOPT_NOP
        o[n + 2] = TCPOPT_SACK_PERM
        o[n + 3] = 2
        n += 4
    if scale >= 0:
        o[n] = TCPOPT_NOP
        o[n + 1] = TCPOPT_WINDOW
        o[n + 2] = 3
        o[n + 3] = <uint8_t>scale
        n += 4
    return n


cdef int options_emit(uint8_t* o, bint timestamps, uint32_t tsval, uint32_t tsecr, const Range* block, int n_blocks) noexcept nogil:
    """Those of an established connection's segment: timestamps and SACK blocks; returns their length."""
    cdef int n = 0, k
    if timestamps:
        put32(o, ALIGNED_TIMESTAMPS)
        put32(o + 4, tsval)
        put32(o + 8, tsecr)
        n = TIMESTAMPS
    if n_blocks:
        put32(o + n, ALIGNED_SACK | (2 + 8 * n_blocks))
        for k in range(n_blocks):
            put32(o + n + 4 + 8 * k, block[k].start)
            put32(o + n + 8 + 8 * k, block[k].end)
        n += SACKS + 8 * n_blocks
    return n
