from libc.math cimport INFINITY
from libc.stdlib cimport abort, calloc, free, qsort, realloc
from libc.string cimport memset

from simcore.engine.ahead cimport LINE, prefetch
from simcore.engine.calendar cimport Handler

cdef enum:
    PER_BUCKET = 8              # events that a bucket shall have when its turn comes
    FEW = 12                    # pending events that the heap alone serves as well
    TUNE_EVERY = 4096           # events taken
    INSERTION = 64              # longer buckets are left to qsort
    HANDLER_LINES = 4           # of memory that a handler takes up, of those that are hot

cdef extern from *:
    int ctz "__builtin_ctzll"(unsigned long long x) nogil


cdef void queue_push(EventQueue* q, const Event* e) noexcept nogil:
    """Add an event: to its bucket, which grows if it must, else to the heap."""
    cdef double x = e.time * q.per_second
    cdef Bucket* b = &q.near if x < q.next else bucket_of(q, x)
    if b != NULL and b.n == b.room:
        if b.room == 0 and x >= q.end and q.spare != NULL:
            take_spare(q, b)
        else:
            grow(b)
    if b == NULL or not queue_place(q, e.time, e.seq, e.handler, e.token):
        heap_push(q, e)


cdef void grow(Bucket* b) noexcept nogil:
    b.room = 2 * b.room if b.room else 4
    b.event = <Event*>realloc(b.event, b.room * sizeof(Event))
    if b.event == NULL:
        abort()


cdef void take_spare(EventQueue* q, Bucket* b) noexcept nogil:
    b.event = <Event*>q.spare
    b.room = q.spare.room
    q.spare = q.spare.next


cdef void leave_spare(EventQueue* q, Bucket* b) noexcept nogil:
    """The bucket is empty, and will not be filled soon."""
    cdef Spare* s = <Spare*>b.event
    s.next = q.spare
    s.room = b.room
    q.spare = s
    b.event = NULL
    b.n = 0
    b.room = 0


cdef void queue_init(EventQueue* q) noexcept nogil:
    memset(q, 0, sizeof(EventQueue))
    q.until_tuned = TUNE_EVERY


cdef void queue_free(EventQueue* q) noexcept nogil:
    cdef Bucket b
    ring_free(&q.soon, SOON)
    ring_free(&q.later, PERIODS)
    while q.spare != NULL:
        take_spare(q, &b)
        free(b.event)
    free(q.near.event)
    free(q.heap)


cdef void ring_init(Ring* r, uint32_t buckets) noexcept nogil:
    r.bucket = <Bucket*>calloc(buckets, sizeof(Bucket))
    r.occupied = <uint64_t*>calloc(buckets >> 6, sizeof(uint64_t))
    if r.bucket == NULL or r.occupied == NULL:
        abort()


cdef void ring_free(Ring* r, uint32_t buckets) noexcept nogil:
    cdef uint32_t i
    if r.bucket != NULL:
        for i in range(buckets):
            free(r.bucket[i].event)
    free(r.bucket)
    free(r.occupied)


cdef double queue_first(EventQueue* q) noexcept:
    """Time of the earliest event, infinity if there is none."""
    cdef double first = q.heap[0].time if q.n_heap else INFINITY
    if q.near.n == 0 and q.soon.waiting | q.later.waiting:
        next_bucket(q)
    if q.near.n and q.near.event[q.near.n - 1].time < first:
        first = q.near.event[q.near.n - 1].time
    return first


# --- the heap ------------------------------------------------------------------------------------------

cdef void heap_push(EventQueue* q, const Event* e) noexcept nogil:
    cdef uint32_t i = q.n_heap, parent
    if q.n_heap == q.heap_room:
        q.heap_room = q.heap_room * 2 if q.heap_room else 256
        q.heap = <Event*>realloc(q.heap, q.heap_room * sizeof(Event))
        if q.heap == NULL:
            abort()
    q.n_heap += 1
    while i > 0:
        parent = (i - 1) >> 2
        if not earlier(e, &q.heap[parent]):
            break
        q.heap[i] = q.heap[parent]
        i = parent
    q.heap[i] = e[0]


cdef void heap_pop(EventQueue* q) noexcept nogil:
    """Remove the earliest event."""
    cdef Event last
    cdef uint32_t i = 0, child, best, end, n
    q.n_heap -= 1
    n = q.n_heap
    if n == 0:
        return
    last = q.heap[n]
    while True:
        child = 4 * i + 1
        if child >= n:
            break
        best = child
        end = child + 4 if child + 4 < n else n
        for child in range(child + 1, end):
            if earlier(&q.heap[child], &q.heap[best]):
                best = child
        if not earlier(&q.heap[best], &last):
            break
        q.heap[i] = q.heap[best]
        i = best
    q.heap[i] = last


# --- the buckets ---------------------------------------------------------------------------------------

cdef int latest_first(const void* a, const void* b) noexcept nogil:
    return -1 if earlier(<const Event*>b, <const Event*>a) else 1


cdef void sort(Bucket* b) noexcept nogil:
    cdef Event* first = b.event
    cdef Event* end = first + b.n
    cdef Event* next = first + 1
    cdef Event* place
    cdef Event e
    if b.n > INSERTION:
        qsort(first, b.n, sizeof(Event), latest_first)
        return
    while next < end:
        e = next[0]
        place = next
        while place > first and before(place - 1, e.time, e.seq):
            place[0] = (place - 1)[0]
            place -= 1
        place[0] = e
        next += 1


cdef bint next_bucket(EventQueue* q) noexcept:
    """Make the next bucket that has events the current one; False if an event of the heap lies in one before it."""
    cdef uint64_t number
    cdef Bucket free_one
    cdef Bucket* b
    cdef Event first
    if q.soon.waiting == 0:
        number = following(&q.later, PERIODS, q.current // PERIOD + 2) * PERIOD
        if q.n_heap and q.heap[0].time * q.per_second < <double>number:
            return False
        move_to(q, number - 1)                      # deals that period out
    number = following(&q.soon, SOON, q.current + 1)
    if q.n_heap and q.heap[0].time * q.per_second < <double>number:
        return False
    b = &q.soon.bucket[number & (SOON - 1)]
    free_one = q.near
    q.near = b[0]
    b[0] = free_one
    emptied(&q.soon, number & (SOON - 1), q.near.n)
    move_to(q, number)
    while q.n_heap and q.next <= q.heap[0].time * q.per_second < q.horizon:
        first = q.heap[0]                           # the periods have come near enough to take it
        heap_pop(q)
        queue_push(q, &first)
    sort(&q.near)
    if queue_crowded(q):
        look_ahead(q)
    return True


cdef inline void emptied(Ring* r, uint64_t at, uint32_t n) noexcept nogil:
    r.occupied[at >> 6] &= ~(<uint64_t>1 << (at & 63))
    r.waiting -= n


cdef inline uint64_t following(const Ring* r, uint32_t buckets, uint64_t number) noexcept nogil:
    """The number of the next bucket that has events, from this one on; there is one."""
    cdef uint32_t at = number & (buckets - 1), word = at >> 6
    cdef uint64_t bits = r.occupied[word] & (~<uint64_t>0 << (at & 63))
    while bits == 0:
        word = (word + 1) & ((buckets >> 6) - 1)
        bits = r.occupied[word]
    return number + (((word << 6 | ctz(bits)) - at) & (buckets - 1))


cdef void move_to(EventQueue* q, uint64_t number) noexcept nogil:
    """It is this bucket's turn; those of the next period stand by themselves from now on."""
    cdef uint64_t period = number // PERIOD, first = q.current // PERIOD + 2, k
    cdef Bucket* dealt
    q.current = number
    q.next = <double>(number + 1)
    q.end = <double>((period + 2) * PERIOD)
    q.horizon = <double>((period + PERIODS) * PERIOD)
    while q.later.waiting:
        first = following(&q.later, PERIODS, first)
        if first > period + 1:
            break
        k = first & (PERIODS - 1)
        dealt = &q.later.bucket[k]
        emptied(&q.later, k, dealt.n)
        deal_out(q, dealt)
        leave_spare(q, dealt)
        if q.later.waiting:
            ask_for(&q.later.bucket[following(&q.later, PERIODS, first + 1) & (PERIODS - 1)])


cdef void ask_for(const Bucket* b) noexcept nogil:
    """A bucket's events have waited long, and will be read soon."""
    cdef uint32_t i
    for i in range(0, b.n, 2):                      # to a line
        prefetch(&b.event[i])


cdef void deal_out(EventQueue* q, const Bucket* dealt) noexcept nogil:
    """Put a period's events into its buckets, which stand by themselves now."""
    cdef const Event* e
    cdef double x
    cdef uint32_t i
    cdef Bucket* b
    for i in range(dealt.n):
        e = &dealt.event[i]
        x = e.time * q.per_second
        if x < q.next:                              # its turn has come already: the heap's first led here
            queue_push(q, e)
            continue
        b = bucket_of(q, x)
        if b.n == b.room:
            grow(b)
        b.event[b.n] = e[0]
        b.n += 1
        occupy(&q.soon, b - q.soon.bucket)


cdef void look_ahead(const EventQueue* q) noexcept:
    """Where thousands of events are pending, what they touch is cold. Two steps, a bucket each, before an event's turn: ask for
    its handler, and let the handler ask for the rest.
    """
    cdef const Bucket* b = &q.near
    cdef uint32_t i, k
    for i in range(b.n if b.n < 2 * PER_BUCKET else 2 * PER_BUCKET):
        (<Handler>b.event[b.n - 1 - i].handler).prepare()
    if q.soon.waiting == 0:
        return
    b = &q.soon.bucket[following(&q.soon, SOON, q.current + 1) & (SOON - 1)]
    for i in range(b.n if b.n < 2 * PER_BUCKET else 2 * PER_BUCKET):
        for k in range(HANDLER_LINES):
            prefetch(<const char*>b.event[i].handler + LINE * k)


cdef void tune(EventQueue* q, double now) noexcept nogil:
    """Fit the buckets' width to how close events follow each other."""
    cdef bint few = queue_size(q) < FEW
    cdef double per_second = 0
    q.until_tuned = TUNE_EVERY
    if not few and now > q.tuned_at:
        per_second = TUNE_EVERY / (now - q.tuned_at) / PER_BUCKET
    q.tuned_at = now
    if not few and per_second == 0:
        return                                      # all at one time: that says nothing
    if not 0.5 * q.per_second <= per_second <= 2 * q.per_second:
        rebuild(q, now, per_second)


cdef void rebuild(EventQueue* q, double now, double per_second) noexcept nogil:
    """Put every event anew where buckets of another width want it."""
    cdef EventQueue old = q[0]
    cdef uint32_t i
    queue_init(q)
    q.tuned_at = old.tuned_at
    q.per_second = per_second
    if per_second:
        ring_init(&q.soon, SOON)
        ring_init(&q.later, PERIODS)
        move_to(q, <uint64_t>(now * per_second))
    push_all(q, &old.near)
    for i in range(old.n_heap):
        queue_push(q, &old.heap[i])
    if old.soon.bucket != NULL:
        for i in range(SOON):
            push_all(q, &old.soon.bucket[i])
        for i in range(PERIODS):
            push_all(q, &old.later.bucket[i])
    queue_free(&old)


cdef void push_all(EventQueue* q, const Bucket* b) noexcept nogil:
    cdef uint32_t i
    for i in range(b.n):
        queue_push(q, &b.event[i])
