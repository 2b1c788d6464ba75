"""As measured of Linux 6.18 (tests/kernel/test_live_transfers.py): windows, their scale, and the memory behind them.

Linux gives a receive buffer memory, not payload: each segment lies in a buffer of its own, with the kernel's descriptors. How
much of the memory is payload is taken to be a half at first, and as the first full segment has it from then on. The memory
grows to what twice a round trip's reading needs, and more while that grows (dynamic right-sizing, Fisk and Feng 2001).
"""
cdef enum:
    HALF = 128                      # 256ths
    MEASURABLE = 536                # bytes of a segment; longer ones tell the ratio
    LINEAR = 132                    # bytes before a segment's payload in its buffer: headers, and room that drivers leave
    DESCRIPTORS = 576               # the kernel's own, of a segment
    MSS_FIRST = 10                  # segments that are taken to be a round trip's reading at first
    WORTH = 128                     # bytes of a segment that lets the window grow
    RMEM_MAX = 4 << 20              # net.core.rmem_max, which the scale allows for
    SCALE_MOST = 14

cdef enum:
    MSEC = 1000


cdef inline uint32_t payload_of(const ReceiveBuffer* b, uint32_t memory) noexcept nogil:
    return <uint32_t>(<uint64_t>memory * b.ratio >> 8)


cdef void rcvbuf_tune(ReceiveBuffer* b, uint32_t size, uint32_t most, bint grows) noexcept nogil:
    """Memory that is `size`, and may grow to `most` (tcp_rmem)."""
    b.tuned = True
    b.grows = grows
    b.ratio = HALF
    b.longest = MEASURABLE
    b.size = size
    b.most = most
    b.window = b.clamp = payload_of(b, size)


cdef void rcvbuf_fix(ReceiveBuffer* b, uint32_t window) noexcept nogil:
    """A window of so many bytes, offered at once and for good."""
    b.tuned = False
    b.window = b.clamp = b.offered = window


cdef uint32_t rcvbuf_first(const ReceiveBuffer* b, uint32_t mss) noexcept nogil:
    """The window that a SYN offers: whole segments."""
    return b.window - b.window % mss if b.window > mss else b.window


cdef int rcvbuf_scale(const ReceiveBuffer* b) noexcept nogil:
    """The window scale that may be needed some day (RFC 7323 2.2)."""
    cdef uint32_t space = max(b.window, b.most, <uint32_t>RMEM_MAX)
    cdef int scale = 0
    while scale < SCALE_MOST and space >> (scale + 16):
        scale += 1
    return scale


cdef void rcvbuf_start(ReceiveBuffer* b, uint32_t first, uint32_t mss, uint32_t seq, double now) noexcept nogil:
    """The connection is established; a window of `first` bytes was offered by the SYN."""
    if not b.tuned:
        return
    b.round_start = seq
    b.round_at = now
    if b.clamp > 2 * mss:
        b.clamp = max(2 * mss, b.window - mss)      # a segment is kept back
    b.offered = min(first, b.clamp)
    b.read = min(b.offered, MSS_FIRST * mss)


cdef void measure(ReceiveBuffer* b, uint32_t n, uint32_t shown) noexcept nogil:
    """How much of its memory is a segment's payload? A window that has been shown stays."""
    cdef uint32_t memory = ((n + LINEAR + 63) & ~<uint32_t>63) + DESCRIPTORS, ratio = (n << 8) // memory
    b.longest = n
    if ratio == b.ratio:
        return
    b.ratio = ratio
    b.window = b.clamp = payload_of(b, b.size)
    b.offered = min(max(b.offered, shown), b.clamp)
    b.read = min(b.read, b.clamp)


cdef void rcvbuf_open(ReceiveBuffer* b, uint32_t n, uint32_t shown, uint32_t mss, uint32_t unread) noexcept nogil:
    """A segment has come; see `rcvbuf_arrived`."""
    cdef uint32_t room
    if not b.tuned:
        return
    if n > b.longest:
        measure(b, n, shown)
    room = min(b.clamp, rcvbuf_room(b, unread))
    if n >= WORTH and b.offered < room:
        b.offered += min(room - b.offered, 2 * max(mss, n))


cdef void sample(ReceiveBuffer* b, double rtt, bint at_least, bint unread) noexcept nogil:
    """The least of all, as others may hold time in which nothing was sent; a little more if timestamps say so again and again."""
    if b.rtt == 0 or rtt < b.rtt:
        b.rtt = rtt
    elif not at_least and not unread:
        b.rtt += (rtt - b.rtt) / 8


cdef void rcvbuf_echoed(ReceiveBuffer* b, uint32_t echo, int32_t ticks, bint unread) noexcept nogil:
    """A full segment echoes a timestamp of ours that is so many ms old."""
    b.echo = echo
    if ticks > 0:
        sample(b, ticks / <double>MSEC, False, unread)


cdef void rcvbuf_window_passed(ReceiveBuffer* b, uint32_t edge, double now) noexcept nogil:
    """The whole window that was offered `passed_at` has come."""
    if b.passed_at > 0:
        sample(b, now - b.passed_at, True, False)
    b.passed = edge
    b.passed_at = now


cdef void rcvbuf_grow(ReceiveBuffer* b, uint32_t seq, uint32_t unread, uint32_t beyond, double now) noexcept nogil:
    """A round trip is over in which all before `seq` was read; so much waits unread, and so much lies beyond a hole."""
    cdef int32_t copied = <int32_t>(seq - b.round_start - unread)
    cdef uint64_t window, grown
    cdef uint32_t last = b.read
    b.round_start = seq
    b.round_at = now
    if copied <= 0 or <uint32_t>copied <= last:
        return
    b.read = <uint32_t>copied
    if not b.grows:
        return
    window = 2 * <uint64_t>b.read                   # it is always a round trip late
    grown = window * (b.read - last) // last
    window += 2 * grown                             # slow start doubles once more
    window += beyond
    grown = min(window * 256 // b.ratio, <uint64_t>b.most)
    if grown > b.size:
        b.size = <uint32_t>grown
        b.window = b.clamp = payload_of(b, b.size)
