from libc.math cimport INFINITY
from libc.stdlib cimport abort, calloc, free, qsort, realloc
from libc.string cimport memset

from simcore.engine.ahead cimport LINE, prefetch
from simcore.engine.calendar cimport Handler

cdef enum:
    PER_BUCKET = 24             # events that a bucket shall have when its turn comes
    FEW = 12                    # pending events that the heap alone serves as well
    TUNE_EVERY = 4096           # events taken
    FEWEST_BUCKETS = 256
    MOST_BUCKETS = 1 << 17
    INSERTION = 64              # longer buckets are left to qsort
    HANDLER_LINES = 6           # of memory that a handler takes up, of those that are hot

cdef extern from *:
    int ctz "__builtin_ctzll"(unsigned long long x) nogil


cdef void queue_push(EventQueue* q, const Event* e) noexcept nogil:
    """Add an event: to its bucket, which grows if it must, else to the heap."""
    cdef double x = e.time * q.per_second
    cdef Bucket* b = NULL
    if x < q.next:
        b = &q.near
    elif x < q.end:
        b = &q.buckets[<uint64_t>x & q.mask]
    if b != NULL and b.n == b.room:
        grow(b)
    if b == NULL or not queue_place(q, e.time, e.seq, e.handler, e.token):
        heap_push(q, e)


cdef void grow(Bucket* b) noexcept nogil:
    b.room = 2 * b.room if b.room else 4
    b.event = <Event*>realloc(b.event, b.room * sizeof(Event))
    if b.event == NULL:
        abort()


cdef void queue_init(EventQueue* q) noexcept nogil:
    memset(q, 0, sizeof(EventQueue))
    q.until_tuned = TUNE_EVERY


cdef void queue_free(EventQueue* q) noexcept nogil:
    free_buckets(q)
    free(q.near.event)
    free(q.heap)


cdef void free_buckets(EventQueue* q) noexcept nogil:
    cdef uint32_t i
    if q.buckets != NULL:
        for i in range(q.mask + 1):
            free(q.buckets[i].event)
    free(q.buckets)
    free(q.occupied)
    q.buckets = NULL
    q.occupied = NULL


cdef double queue_first(EventQueue* q) noexcept:
    """Time of the earliest event, infinity if there is none."""
    cdef double first = q.heap[0].time if q.n_heap else INFINITY
    if q.near.n == 0 and q.waiting:
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
    cdef Event e
    cdef uint32_t i, j
    if b.n > INSERTION:
        qsort(b.event, b.n, sizeof(Event), latest_first)
        return
    for i in range(1, b.n):
        e = b.event[i]
        j = i
        while j > 0 and earlier(&b.event[j - 1], &e):
            b.event[j] = b.event[j - 1]
            j -= 1
        b.event[j] = e


cdef bint next_bucket(EventQueue* q) noexcept:
    """Make the next bucket that has events the current one; False if an event of the heap lies in one before it."""
    cdef uint32_t at = occupied_from(q, <uint32_t>(q.current + 1) & q.mask)
    cdef uint64_t number
    cdef Bucket free_one = q.near
    cdef Event first
    number = q.current + 1 + ((at - <uint32_t>(q.current + 1)) & q.mask)
    if q.n_heap and q.heap[0].time * q.per_second < <double>number:
        return False
    q.near = q.buckets[at]
    q.buckets[at] = free_one
    q.occupied[at >> 6] &= ~(<uint64_t>1 << (at & 63))
    q.waiting -= q.near.n
    move_to(q, number)
    while q.n_heap and q.next <= q.heap[0].time * q.per_second < q.end:
        first = q.heap[0]                           # the buckets have come near enough to take it
        heap_pop(q)
        queue_push(q, &first)
    sort(&q.near)
    if queue_crowded(q):
        look_ahead(q)
    return True


cdef inline uint32_t occupied_from(const EventQueue* q, uint32_t at) noexcept nogil:
    """The next bucket that has events, from `at` on and round; there is one."""
    cdef uint32_t word = at >> 6, words = (q.mask + 1) >> 6
    cdef uint64_t bits = q.occupied[word] & (~<uint64_t>0 << (at & 63))
    while bits == 0:
        word = (word + 1) & (words - 1)
        bits = q.occupied[word]
    return word << 6 | ctz(bits)


cdef void look_ahead(const EventQueue* q) noexcept:
    """Where thousands of events are pending, what they touch is cold. Three steps, a bucket each, before an event's turn: ask for
    the event, for its handler, and let the handler ask for the rest.
    """
    cdef uint32_t at = occupied_from(q, <uint32_t>(q.current + 1) & q.mask), i, k
    cdef const Bucket* b = &q.near
    cdef const Event* e
    for i in range(b.n if b.n < 2 * PER_BUCKET else 2 * PER_BUCKET):
        (<Handler>b.event[b.n - 1 - i].handler).prepare()
    b = &q.buckets[at]
    for i in range(b.n if b.n < 2 * PER_BUCKET else 2 * PER_BUCKET):
        e = &b.event[i]
        for k in range(HANDLER_LINES):
            prefetch(<const char*>e.handler + LINE * k)
    b = &q.buckets[occupied_from(q, (at + 1) & q.mask)]
    i = 0
    while i < b.n * sizeof(Event) and i < 2 * PER_BUCKET * sizeof(Event):
        prefetch(<const char*>b.event + i)
        i += 64


cdef void move_to(EventQueue* q, uint64_t number) noexcept nogil:
    q.current = number
    q.next = <double>(number + 1)
    q.end = <double>(number + q.mask)


cdef void tune(EventQueue* q, double now) noexcept nogil:
    """Fit the buckets to how many events are pending and how close they follow each other."""
    cdef uint32_t pending = queue_size(q), buckets = FEWEST_BUCKETS
    cdef double per_second = 0
    q.until_tuned = TUNE_EVERY
    if pending >= FEW and now > q.tuned_at:
        per_second = TUNE_EVERY / (now - q.tuned_at) / PER_BUCKET
    q.tuned_at = now
    while buckets < MOST_BUCKETS and 2 * buckets * PER_BUCKET < 3 * pending:
        buckets *= 2
    if pending >= FEW and per_second == 0:
        return                                      # all at one time: that says nothing
    if per_second != 0 and 0.5 * q.per_second <= per_second <= 2 * q.per_second and buckets <= q.mask + 1 <= 8 * buckets:
        return
    if per_second == 0 and q.per_second == 0:
        return
    rebuild(q, now, per_second, buckets)


cdef void rebuild(EventQueue* q, double now, double per_second, uint32_t buckets) noexcept nogil:
    """Put every event anew where other buckets want it."""
    cdef EventQueue old = q[0]
    cdef uint32_t i, j
    queue_init(q)
    q.tuned_at = old.tuned_at
    q.per_second = per_second
    if per_second:
        q.mask = buckets - 1
        q.buckets = <Bucket*>calloc(buckets, sizeof(Bucket))
        q.occupied = <uint64_t*>calloc(buckets >> 6, sizeof(uint64_t))
        if q.buckets == NULL or q.occupied == NULL:
            abort()
        move_to(q, <uint64_t>(now * per_second))
    for i in range(old.near.n):
        queue_push(q, &old.near.event[i])
    for i in range(old.n_heap):
        queue_push(q, &old.heap[i])
    if old.buckets != NULL:
        for i in range(old.mask + 1):
            for j in range(old.buckets[i].n):
                queue_push(q, &old.buckets[i].event[j])
    queue_free(&old)
