"""A queue of events in order of time, then of `seq`: buckets of time in two sizes over a heap.

A calendar queue (Brown 1988) before a ladder (Tang, Goh, Thng 2005). Time is cut into buckets of equal width; an event is
appended to its bucket, and a bucket is sorted when its turn comes, so that a few events cost a few comparisons however many
wait elsewhere. Buckets that come soon are few, and stay in the cache; what comes later is appended to that of its period,
which is dealt out when the periods before it are over. What lies beyond all periods, and what comes too late to be put in its
place among many, waits in a 4-ary heap. The width follows the density of events; while few are pending there is only the heap.
None of this shows: the order is total.
"""
from libc.stdint cimport uint32_t, uint64_t

ctypedef struct Event:
    double time
    uint64_t seq
    void* handler               # borrowed: whoever schedules lives as long as the queue
    uint64_t token

ctypedef struct Bucket:
    Event* event
    uint32_t n
    uint32_t room

cdef enum:
    PERIOD_BITS = 6
    PERIOD = 1 << PERIOD_BITS   # buckets in a period
    SOON = 2 * PERIOD           # buckets that stand by themselves: those of this period and the next
    PERIODS = 1 << 12           # that are told apart

# Room for a period's events that no period has now.
ctypedef struct Spare:
    Spare* next
    uint32_t room

ctypedef struct Ring:
    Bucket* bucket
    uint64_t* occupied          # a bit for each
    uint32_t waiting            # events in them

ctypedef struct EventQueue:
    Bucket near                 # the bucket whose turn it is, sorted: the earliest last
    uint64_t current            # its number: buckets are numbered from time 0
    double per_second           # buckets in a second; 0: there is only the heap
    double next                 # current + 1: where the buckets that wait begin,
    double end                  # where those end that stand by themselves,
    double horizon              # and where periods end
    Ring soon                   # buckets, by the last bits of their number
    Ring later                  # periods, by the last bits of theirs
    Spare* spare                # as many periods have events at a time, but each in its turn
    Event* heap
    uint32_t n_heap
    uint32_t heap_room
    uint32_t until_tuned        # events to be taken before the width is looked at again
    double tuned_at             # s

cdef enum:
    SHIFTS = 24                 # events that one moves to take its place among those of its bucket
    CACHED = 256                # pending events whose handlers the cache keeps anyhow


cdef inline bint before(const Event* a, double time, uint64_t seq) noexcept nogil:
    return a.time < time or (a.time == time and a.seq < seq)


cdef inline bint earlier(const Event* a, const Event* b) noexcept nogil:
    return before(a, b.time, b.seq)


cdef void queue_init(EventQueue* q) noexcept nogil
cdef void queue_push(EventQueue* q, const Event* e) noexcept nogil
cdef void heap_pop(EventQueue* q) noexcept nogil
cdef bint next_bucket(EventQueue* q) noexcept
cdef void move_to(EventQueue* q, uint64_t number) noexcept nogil
cdef void tune(EventQueue* q, double now) noexcept nogil
cdef void queue_free(EventQueue* q) noexcept nogil
cdef double queue_first(EventQueue* q) noexcept


cdef inline uint32_t queue_size(const EventQueue* q) noexcept nogil:
    return q.near.n + q.soon.waiting + q.later.waiting + q.n_heap


cdef inline bint queue_crowded(const EventQueue* q) noexcept nogil:
    """Are so many events pending that what they touch is cold when their turn comes?"""
    return q.soon.waiting + q.later.waiting > CACHED


cdef inline Bucket* bucket_of(const EventQueue* q, double x) noexcept nogil:
    """Where events `x` buckets after the beginning wait for their turn, which has not come; NULL beyond the horizon."""
    if x < q.end:
        return &q.soon.bucket[<uint64_t>x & (SOON - 1)]
    if x < q.horizon:
        return &q.later.bucket[<uint64_t>x >> PERIOD_BITS & (PERIODS - 1)]
    return NULL


cdef inline void occupy(Ring* r, uint32_t at) noexcept nogil:
    """One more event is in this bucket."""
    r.occupied[at >> 6] |= <uint64_t>1 << (at & 63)
    r.waiting += 1


cdef inline bint queue_place(EventQueue* q, double time, uint64_t seq, void* handler, uint64_t token) noexcept nogil:
    """Put an event into its bucket; False if that has no room, or it has none."""
    cdef double x = time * q.per_second
    cdef uint64_t k
    cdef Ring* ring
    cdef Bucket* b
    cdef Event* place
    cdef Event* least
    if x < q.next:
        b = &q.near
        if b.n == b.room:
            return False
        place = b.event + b.n
        least = place - SHIFTS if b.n > SHIFTS else b.event
        while place > least and before(place - 1, time, seq):
            place[0] = (place - 1)[0]
            place -= 1
        if place == least and place != b.event and before(place - 1, time, seq):
            while place < b.event + b.n:            # too many are earlier: back again
                place[0] = place[1]
                place += 1
            return False
    else:
        b = bucket_of(q, x)
        if b == NULL or b.n == b.room:
            return False
        place = b.event + b.n
        ring = &q.soon if x < q.end else &q.later
        k = b - ring.bucket
        occupy(ring, k)
    place.time = time
    place.seq = seq
    place.handler = handler
    place.token = token
    b.n += 1
    return True


cdef inline bint queue_pop(EventQueue* q, double limit, Event* out) noexcept:
    """Take the earliest event if its time is before `limit`."""
    cdef Event* e
    cdef double x
    if q.near.n == 0 and q.soon.waiting | q.later.waiting:
        next_bucket(q)
    if q.near.n:
        e = &q.near.event[q.near.n - 1]
        if q.n_heap == 0 or earlier(e, &q.heap[0]):
            if not e.time < limit:
                return False
            out[0] = e[0]
            q.near.n -= 1
            q.until_tuned -= 1
            if q.until_tuned == 0:
                tune(q, out.time)
            return True
    elif q.n_heap == 0:
        return False
    if not q.heap[0].time < limit:
        return False
    out[0] = q.heap[0]
    heap_pop(q)
    x = out.time * q.per_second
    if x >= q.next:                                 # every bucket up to here is empty
        move_to(q, <uint64_t>x)
    q.until_tuned -= 1
    if q.until_tuned == 0:
        tune(q, out.time)
    return True
