from libc.stdlib cimport abort, free, realloc
from libc.string cimport memmove, memset

from natfast.headers cimport after, before

cdef enum:
    FIRST_ROOM = 4


cdef void flight_init(Flight* f) noexcept nogil:
    f.min_rtt = -1
    f.window_mult = 1


cdef void flight_free(Flight* f) noexcept nogil:
    free(f.seg)
    f.seg = NULL
    f.head = f.tail = f.room = 0


cdef inline void make_room(Flight* f) noexcept nogil:
    cdef uint32_t n = f.tail - f.head
    if f.tail < f.room:
        return
    if f.head and f.head >= f.room >> 1:
        memmove(f.seg, f.seg + f.head, n * sizeof(Sent))
    else:
        f.room = f.room * 2 if f.room else FIRST_ROOM
        f.seg = <Sent*>realloc(f.seg, f.room * sizeof(Sent))
        if f.seg == NULL:
            abort()
        if f.head:
            memmove(f.seg, f.seg + f.head, n * sizeof(Sent))
    f.hint = f.hint - f.head if f.hint > f.head else 0
    f.head = 0
    f.tail = n


cdef inline void stamp(Flight* f, Sent* s, double now) noexcept nogil:
    """Remember what had been delivered when it left (draft-cheng-iccrg-delivery-rate-estimation)."""
    if flight_pipe(f) == 0:
        f.first_at = now
        f.delivered_at = now
    s.at = now
    s.first_at = f.first_at
    s.delivered = f.delivered
    s.delivered_at = f.delivered_at
    if f.app_limited:
        s.state |= APP_LIMITED
    else:
        s.state &= ~APP_LIMITED


cdef void flight_send(Flight* f, uint32_t start, uint32_t end, uint8_t state, double now) noexcept nogil:
    """A segment of new data has left."""
    cdef Sent* s
    make_room(f)
    s = &f.seg[f.tail]
    s.start = start
    s.end = end
    s.state = state
    stamp(f, s, now)
    f.tail += 1
    f.outstanding += end - start


cdef void flight_resend(Flight* f, uint32_t i, double now) noexcept nogil:
    """A segment has been sent again."""
    cdef Sent* s = &f.seg[i]
    stamp(f, s, now)
    if not s.state & RETRANS:
        f.retrans += s.end - s.start
    s.state |= RETRANS | EVER_RETRANS


cdef inline void forget_marks(Flight* f, Sent* s) noexcept nogil:
    cdef uint32_t n = s.end - s.start
    if s.state & LOST:
        f.lost -= n
    if s.state & RETRANS:
        f.retrans -= n
    s.state &= ~(LOST | RETRANS)


cdef void deliver(Flight* f, Sent* s, double now, Sample* r) noexcept nogil:
    """A segment has reached the other side: RACK's and the delivery rate's book-keeping."""
    cdef uint32_t n = s.end - s.start
    cdef double rtt = now - s.at
    cdef bint ambiguous = (s.state & EVER_RETRANS) != 0
    r.delivered += n
    f.delivered += n
    if s.delivered_at > 0 and (r.prior_at == 0 or s.delivered > r.prior_delivered):
        r.prior_delivered = s.delivered
        r.prior_at = s.delivered_at
        r.interval = s.at - s.first_at
        r.app_limited = (s.state & APP_LIMITED) != 0
        f.first_at = s.at
    f.delivered_at = now
    if ambiguous:
        # too soon for the copy: it was the original (RFC 8985 6.2 step 2)
        if f.min_rtt >= 0 and rtt < f.min_rtt:
            return
    else:
        if r.rtt < 0:
            r.rtt = rtt
        r.last_rtt = rtt
        if f.min_rtt < 0 or rtt < f.min_rtt:
            f.min_rtt = rtt
        if f.rack_at > 0 and before(s.end, f.high_sacked):
            f.reordering = True                     # an original arrived after one that was sent later
    f.rack_rtt = rtt
    if s.at > f.rack_at or (s.at == f.rack_at and after(s.end, f.rack_end)):
        f.rack_at = s.at
        f.rack_end = s.end
        f.advanced = True


cdef uint32_t flight_ack(Flight* f, uint32_t una, double now, Sample* r) noexcept nogil:
    """Everything before `una` has arrived; returns how many segments left the flight."""
    cdef Sent* s
    cdef uint32_t n = 0, high = una
    while f.head != f.tail:
        s = &f.seg[f.head]
        if after(s.end, una):
            if before(s.start, una):                # part of a segment
                if s.state & SACKED:
                    f.sacked -= una - s.start
                else:
                    if s.state & LOST:
                        f.lost -= una - s.start
                    if s.state & RETRANS:
                        f.retrans -= una - s.start
                    f.delivered += una - s.start
                    r.delivered += una - s.start
                f.outstanding -= una - s.start
                s.start = una
            break
        if s.state & SACKED:
            f.sacked -= s.end - s.start
            f.n_sacked -= 1
        else:
            forget_marks(f, s)
            deliver(f, s, now, r)
        f.outstanding -= s.end - s.start
        f.head += 1
        n += 1
    if f.rack_at == 0 or after(high, f.high_sacked):
        f.high_sacked = high
    if f.hint < f.head:
        f.hint = f.head
    if f.head == f.tail:
        f.head = f.tail = f.hint = 0
        f.n_sacked = 0
    return n


cdef void flight_sack(Flight* f, uint32_t start, uint32_t end, double now, Sample* r) noexcept nogil:
    """[start, end) has arrived; whole segments count."""
    cdef uint32_t lo = f.head, hi = f.tail, mid
    cdef Sent* s
    while lo < hi:                                  # first segment that does not begin before `start`
        mid = (lo + hi) >> 1
        if before(f.seg[mid].start, start):
            lo = mid + 1
        else:
            hi = mid
    while lo < f.tail:
        s = &f.seg[lo]
        if after(s.end, end):
            return
        if not s.state & SACKED:
            forget_marks(f, s)
            deliver(f, s, now, r)
            s.state |= SACKED
            f.sacked += s.end - s.start
            f.n_sacked += 1
            if after(s.end, f.high_sacked):
                f.high_sacked = s.end
        lo += 1


cdef void flight_lose(Flight* f, uint32_t i, Sample* r) noexcept nogil:
    """Mark a segment, or its retransmission, lost."""
    cdef Sent* s = &f.seg[i]
    cdef uint32_t n = s.end - s.start
    if s.state & RETRANS:
        f.retrans -= n
        s.state &= ~RETRANS
        r.lost += n
    if not s.state & LOST:
        s.state |= LOST
        f.lost += n
        r.lost += n
    if i < f.hint:
        f.hint = i


cdef double flight_detect(Flight* f, double now, double window, Sample* r) noexcept nogil:
    """RACK (RFC 8985 6.2 step 5): mark lost what was sent well before something that arrived.

    Returns seconds until the next segment would have to be, 0 if none is in question.
    """
    cdef uint32_t i
    cdef Sent* s
    cdef double wait, longest = 0
    f.advanced = False
    if f.rack_at == 0:
        return 0
    for i in range(f.head, f.tail):
        s = &f.seg[i]
        if s.state & SACKED or (s.state & LOST and not s.state & RETRANS):
            continue
        # of two sent at one time the sequence numbers tell the order, unless one is a copy
        if s.at > f.rack_at or (s.at == f.rack_at and (s.state & RETRANS or not before(s.end, f.rack_end))):
            if not s.state & EVER_RETRANS:
                break                               # all after it are new and were sent later still
            continue
        wait = s.at + f.rack_rtt + window - now
        if wait <= 1e-9:
            flight_lose(f, i, r)
        elif wait > longest:
            longest = wait
    return longest


cdef void flight_lose_all(Flight* f) noexcept nogil:
    """After a timeout nothing that is not SACKed is believed to be in flight."""
    cdef uint32_t i
    cdef Sample r
    memset(&r, 0, sizeof(r))
    for i in range(f.head, f.tail):
        if not f.seg[i].state & SACKED:
            flight_lose(f, i, &r)
    f.hint = f.head


cdef void flight_find_all(Flight* f) noexcept nogil:
    """It was a false alarm: what is marked lost is in flight after all."""
    cdef uint32_t i
    for i in range(f.head, f.tail):
        if f.seg[i].state & LOST:
            f.lost -= f.seg[i].end - f.seg[i].start
            f.seg[i].state &= ~LOST


cdef int flight_next_lost(Flight* f) noexcept nogil:
    """The first segment to send again, -1 if there is none."""
    cdef uint32_t i
    for i in range(f.hint, f.tail):
        if f.seg[i].state & (LOST | RETRANS | SACKED) == LOST:
            f.hint = i
            return <int>i
    f.hint = f.tail
    return -1


cdef void flight_split(Flight* f, uint32_t i, uint32_t size) noexcept nogil:
    """Cut a segment in two, the first of `size` bytes: the MSS has become smaller."""
    cdef Sent* s
    cdef uint32_t shifted = f.head
    make_room(f)
    i -= shifted - f.head
    s = &f.seg[i]
    memmove(s + 1, s, (f.tail - i) * sizeof(Sent))
    f.tail += 1
    s[0].end = s[0].start + size
    s[0].state &= ~HAS_FIN
    s[1].start = s[0].end
    if s.state & SACKED:
        f.n_sacked += 1


cdef void flight_rate(Flight* f, double now, Sample* r) noexcept nogil:
    """Finish the sample: the longer of the sending and the acknowledging interval."""
    cdef double acked
    if f.app_limited and f.delivered > f.app_limited:
        f.app_limited = 0
    if r.prior_at == 0:
        r.interval = -1
        return
    acked = now - r.prior_at
    if acked > r.interval:
        r.interval = acked
    if f.min_rtt >= 0 and r.interval < f.min_rtt:
        r.interval = -1                             # faster than a round trip: compressed ACKs, no measure
