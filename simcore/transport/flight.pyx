from libc.stdlib cimport abort, free, realloc
from libc.string cimport memmove, memset

from natfast.headers cimport after, before

cdef enum:
    FIRST_ROOM = 1                  # most connections that wait have sent a segment at a time


cdef void flight_init(Flight* f) noexcept nogil:
    f.min_rtt = -1
    f.window_mult = 1
    list_clear(f)


cdef void flight_free(Flight* f) noexcept nogil:
    free(f.seg)
    f.seg = NULL
    f.head = f.tail = f.room = 0
    list_clear(f)


# --- lists of segments -------------------------------------------------------------------------------------

cdef inline void list_clear(Flight* f) noexcept nogil:
    f.awaited.first = f.awaited.last = f.due.first = f.due.last = f.due_last = NOBODY


cdef inline Sent* numbered(const Flight* f, uint32_t number) noexcept nogil:
    return &f.seg[number - f.base]


cdef inline uint32_t number_of(const Flight* f, const Sent* s) noexcept nogil:
    return f.base + <uint32_t>(s - f.seg)


cdef inline void put_behind(Flight* f, List* l, Sent* s, uint32_t before) noexcept nogil:
    """Put a segment behind the one of that number; NOBODY makes it the first."""
    cdef uint32_t number = number_of(f, s), after = l.first if before == NOBODY else numbered(f, before).after
    s.before = before
    s.after = after
    if before == NOBODY:
        l.first = number
    else:
        numbered(f, before).after = number
    if after == NOBODY:
        l.last = number
    else:
        numbered(f, after).before = number


cdef inline void take_out(Flight* f, List* l, Sent* s) noexcept nogil:
    if s.before == NOBODY:
        l.first = s.after
    else:
        numbered(f, s.before).after = s.after
    if s.after == NOBODY:
        l.last = s.before
    else:
        numbered(f, s.after).before = s.before


cdef inline void in_no_list(Flight* f, Sent* s) noexcept nogil:
    if s.state & AWAITED:
        take_out(f, &f.awaited, s)
    elif s.state & DUE:
        take_out(f, &f.due, s)
        if f.due_last == number_of(f, s):
            f.due_last = s.after if s.before == NOBODY else s.before
    s.state &= ~(AWAITED | DUE)


cdef inline void await_it(Flight* f, Sent* s, uint32_t before) noexcept nogil:
    """It is in the network, sent after the one of that number."""
    in_no_list(f, s)
    put_behind(f, &f.awaited, s, before)
    s.state |= AWAITED


cdef inline void await_newest(Flight* f, Sent* s) noexcept nogil:
    """It has just been sent, and is in no list: `await_it` after all others, for every segment's sake without looking."""
    cdef uint32_t number = number_of(f, s)
    s.before = f.awaited.last
    s.after = NOBODY
    if f.awaited.last == NOBODY:
        f.awaited.first = number
    else:
        numbered(f, f.awaited.last).after = number
    f.awaited.last = number
    s.state |= AWAITED


cdef inline void make_due(Flight* f, Sent* s) noexcept nogil:
    """It is to be sent again, in its turn; most are marked one after the other, so its place is near that of the one before."""
    cdef uint32_t place
    if s.state & DUE:
        return
    in_no_list(f, s)
    place = f.due_last
    while place != NOBODY and numbered(f, place) > s:
        place = numbered(f, place).before
    if place != NOBODY:
        while numbered(f, place).after != NOBODY and numbered(f, numbered(f, place).after) < s:
            place = numbered(f, place).after
    put_behind(f, &f.due, s, place)
    f.due_last = number_of(f, s)
    s.state |= DUE


cdef inline uint32_t moved(const Flight* f, uint32_t number, uint32_t split) noexcept nogil:
    """What becomes of a number when that segment is made two."""
    return number + 1 if number != NOBODY and number - f.base > split - f.base else number


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
    f.base += f.head
    f.head = 0
    f.tail = n


cdef inline void stamp(Flight* f, Sent* s, double now) noexcept nogil:
    """Remember what had been delivered when it left (draft-cheng-iccrg-delivery-rate-estimation)."""
    if flight_pipe(f) == 0:
        f.first_at = now
        f.delivered_at = now
    s.at = now
    s.first_at = f.first_at
    s.delivered = <uint32_t>f.delivered
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
    await_newest(f, s)
    f.tail += 1
    f.outstanding += end - start


cdef void flight_resend(Flight* f, uint32_t i, double now) noexcept nogil:
    """A segment has been sent again."""
    cdef Sent* s = &f.seg[i]
    stamp(f, s, now)
    if not s.state & RETRANS:
        f.retrans += s.end - s.start
    s.state |= RETRANS | EVER_RETRANS
    in_no_list(f, s)
    await_newest(f, s)


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
    cdef uint64_t then = f.delivered - <uint32_t>(<uint32_t>f.delivered - s.delivered)
    in_no_list(f, s)
    r.delivered += n
    f.delivered += n
    if s.delivered_at > 0 and (r.prior_at == 0 or then > r.prior_delivered):
        r.prior_delivered = then
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
    if f.head == f.tail:
        f.base += f.head
        f.head = f.tail = 0
        f.n_sacked = 0
    if f.n_sacked == 0:
        f.n_known = 0
    return n


cdef void flight_sack(Flight* f, uint32_t start, uint32_t end, double now, Sample* r) noexcept nogil:
    """[start, end) has arrived; whole segments count."""
    cdef uint32_t lo = f.head, hi = f.tail, mid, i
    cdef Range* known = &f.known[f.n_known % BLOCKS]    # unless one is found that this one continues, the eldest is forgotten
    cdef Sent* s
    for i in range(min(f.n_known, <uint32_t>BLOCKS)):
        if f.known[i].start == start and not after(f.known[i].end, end):
            known = &f.known[i]
            start = known.end
            break
    else:
        known.start = start
        f.n_known += 1
    while lo < hi:                                  # first segment that does not begin before `start`
        mid = (lo + hi) >> 1
        if before(f.seg[mid].start, start):
            lo = mid + 1
        else:
            hi = mid
    known.end = start
    while lo < f.tail:
        s = &f.seg[lo]
        if after(s.end, end):
            return
        known.end = s.end
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
    make_due(f, s)
    if not s.state & LOST:
        s.state |= LOST
        f.lost += n
        r.lost += n


cdef double flight_detect(Flight* f, double now, double window, Sample* r) noexcept nogil:
    """RACK (RFC 8985 6.2 step 5): mark lost what was sent well before something that arrived.

    Returns seconds until the next segment would have to be, 0 if none is in question.
    """
    cdef uint32_t number = f.awaited.first
    cdef Sent* s
    cdef double wait, longest = 0
    f.advanced = False
    if f.rack_at == 0:
        return 0
    while number != NOBODY:
        s = numbered(f, number)
        number = s.after
        if s.at > f.rack_at:
            break
        # of two sent at one time the sequence numbers tell the order, unless one is a copy
        if s.at == f.rack_at and (s.state & RETRANS or not before(s.end, f.rack_end)):
            continue
        wait = s.at + f.rack_rtt + window - now
        if wait <= 1e-9:
            flight_lose(f, <uint32_t>(s - f.seg), r)
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


cdef void flight_find_all(Flight* f) noexcept nogil:
    """It was a false alarm: what is marked lost is in flight after all."""
    cdef uint32_t i, place = NOBODY, then
    cdef Sent* s
    for i in range(f.head, f.tail):
        s = &f.seg[i]
        if not s.state & LOST:
            continue
        f.lost -= s.end - s.start
        s.state &= ~LOST
        if s.state & AWAITED:                       # a copy of it is
            continue
        if place != NOBODY and numbered(f, place).at > s.at:
            place = NOBODY
        then = f.awaited.first if place == NOBODY else numbered(f, place).after
        while then != NOBODY and numbered(f, then).at <= s.at:
            place, then = then, numbered(f, then).after
        await_it(f, s, place)
        place = number_of(f, s)


cdef int flight_next_lost(Flight* f) noexcept nogil:
    """The first segment to send again, -1 if there is none."""
    return -1 if f.due.first == NOBODY else <int>(f.due.first - f.base)


cdef void flight_split(Flight* f, uint32_t i, uint32_t size) noexcept nogil:
    """Cut a segment in two, the first of `size` bytes: the MSS has become smaller."""
    cdef Sent* s
    cdef uint32_t shifted = f.head, k, number
    make_room(f)
    i -= shifted - f.head
    number = f.base + i
    s = &f.seg[i]
    memmove(s + 1, s, (f.tail - i) * sizeof(Sent))
    f.tail += 1
    for k in range(f.head, f.tail):                 # those behind it have got other numbers
        f.seg[k].before = moved(f, f.seg[k].before, number)
        f.seg[k].after = moved(f, f.seg[k].after, number)
    f.awaited.first = moved(f, f.awaited.first, number)
    f.awaited.last = moved(f, f.awaited.last, number)
    f.due.first = moved(f, f.due.first, number)
    f.due.last = moved(f, f.due.last, number)
    f.due_last = moved(f, f.due_last, number)
    s[0].end = s[0].start + size
    s[0].state &= ~HAS_FIN
    s[1].start = s[0].end
    s[1].state &= ~(AWAITED | DUE)
    if s.state & AWAITED:
        await_it(f, s + 1, number)
    elif s.state & DUE:
        make_due(f, s + 1)
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
