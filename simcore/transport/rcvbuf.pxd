"""A TCP receiver's buffer: how large a window it offers, and how it grows with what is read (dynamic right-sizing)."""
from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t
from natfast.headers cimport before
from simcore.engine.flag cimport Flag

ctypedef struct ReceiveBuffer:
    Flag tuned                      # else `window` is of a fixed size
    Flag grows                      # tcp_moderate_rcvbuf
    uint16_t ratio                  # 256ths of the memory that are payload, ...
    uint32_t longest                # ... as of this longest segment yet
    uint32_t size                   # bytes of memory (sk_rcvbuf)
    uint32_t most                   # that `size` may grow to
    uint32_t window                 # bytes of payload that the memory holds
    uint32_t clamp                  # of them those that a window may take up
    uint32_t offered                # of those what is offered yet (rcv_ssthresh): more with every segment that comes
    # the round trip at hand, as the receiver sees it
    uint32_t read                   # bytes read in the best one so far
    uint32_t round_start            # sequence number that had been read up to when it began
    uint32_t echo                   # timestamp of the last sample: each counts once
    uint32_t passed                 # without timestamps: a round trip lasts until this number has come ...
    double passed_at                # ... since then
    double round_at
    double rtt                      # s; 0: not known

cdef void rcvbuf_tune(ReceiveBuffer* b, uint32_t size, uint32_t most, bint grows) noexcept nogil
cdef void rcvbuf_fix(ReceiveBuffer* b, uint32_t window) noexcept nogil
cdef uint32_t rcvbuf_first(const ReceiveBuffer* b, uint32_t mss) noexcept nogil
cdef int rcvbuf_scale(const ReceiveBuffer* b) noexcept nogil
cdef void rcvbuf_start(ReceiveBuffer* b, uint32_t first, uint32_t mss, uint32_t seq, double now) noexcept nogil
cdef void rcvbuf_open(ReceiveBuffer* b, uint32_t n, uint32_t shown, uint32_t mss, uint32_t unread) noexcept nogil
cdef void rcvbuf_echoed(ReceiveBuffer* b, uint32_t echo, int32_t ticks, bint unread) noexcept nogil
cdef void rcvbuf_window_passed(ReceiveBuffer* b, uint32_t edge, double now) noexcept nogil
cdef void rcvbuf_grow(ReceiveBuffer* b, uint32_t seq, uint32_t unread, uint32_t beyond, double now) noexcept nogil


cdef inline bint rcvbuf_round_is_over(const ReceiveBuffer* b, double now) noexcept nogil:
    return b.tuned and b.rtt > 0 and now - b.round_at >= b.rtt


cdef inline void rcvbuf_passed(ReceiveBuffer* b, uint32_t seq, uint32_t edge, double now) noexcept nogil:
    """Data have come up to `seq`: a whole window takes a round trip at least."""
    if b.passed_at == 0 or not before(seq, b.passed):
        rcvbuf_window_passed(b, edge, now)


cdef inline void rcvbuf_arrived(ReceiveBuffer* b, uint32_t n, uint32_t shown, uint32_t mss, uint32_t unread) noexcept nogil:
    """A segment has come in a window of `shown` bytes: two more may be offered."""
    if b.offered < b.clamp or n > b.longest:
        rcvbuf_open(b, n, shown, mss, unread)


cdef inline uint32_t rcvbuf_room(const ReceiveBuffer* b, uint64_t unread) noexcept nogil:
    """Bytes of payload that the memory takes besides what nobody has read."""
    return b.window - <uint32_t>unread if unread < b.window else 0
