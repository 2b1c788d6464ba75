from libc.stdlib cimport abort, free, realloc
from libc.string cimport memmove

from natfast.headers cimport after, before


cdef class Reassembly:
    """Segments that came before their turn (RFC 9293 3.10.7.4), as ranges of the sequence space."""

    def __cinit__(self):
        self.data = None

    def __dealloc__(self):
        free(self.memory)

    cdef int find(self, uint32_t at) noexcept:
        """Index of the first range that ends at or after `at`."""
        cdef int lo = 0, hi = self.n, mid
        while lo < hi:
            mid = (lo + hi) >> 1
            if before(self.range[mid].end, at):
                lo = mid + 1
            else:
                hi = mid
        return lo

    cdef void insert(self, uint32_t start, uint32_t end, bytes data) noexcept:
        """Hold [start, end); `data` if its bytes are not all zero."""
        cdef int i = self.find(start), j
        cdef uint32_t at = start
        if start == end:
            return
        if i < self.n and not after(self.range[i].start, start) and not before(self.range[i].end, end):
            self.dsack.start = start                # all of it was here already (RFC 2883)
            self.dsack.end = end
            return
        if data is not None:
            if self.data is None:
                self.data = {}
            if len(self.data.get(start, b"")) < len(data):
                self.data[start] = data
        j = i
        while j < self.n and not after(self.range[j].start, end):   # touched or overlapped: one range
            if before(self.range[j].start, start):
                start = self.range[j].start
            if after(self.range[j].end, end):
                end = self.range[j].end
            j += 1
        if j == i:
            if self.n == self.room:
                self.make_room()
            memmove(&self.range[i + 1], &self.range[i], (self.n - i) * sizeof(Range))
            self.n += 1
        elif j > i + 1 and i < self.n - j:          # several have become one: those on the shorter side move up
            memmove(&self.range[j - i - 1], self.range, i * sizeof(Range))
            self.skip(j - i - 1)
        elif j > i + 1:
            memmove(&self.range[i + 1], &self.range[j], (self.n - j) * sizeof(Range))
            self.n -= j - i - 1
        self.range[i].start = start
        self.range[i].end = end
        self.note(at, start, end)

    cdef void make_room(self) noexcept:
        cdef int skipped = <int>(self.range - self.memory)
        if skipped > self.n:                        # there is room in front
            memmove(self.memory, self.range, self.n * sizeof(Range))
            self.range = self.memory
            self.room += skipped
            return
        self.room = 2 * self.room if self.room else 4
        self.memory = <Range*>realloc(self.memory, (skipped + self.room) * sizeof(Range))
        if self.memory == NULL:
            abort()
        self.range = self.memory + skipped

    cdef void skip(self, int gone) noexcept:
        """The first ranges are not needed any more."""
        self.range += gone
        self.room -= gone
        self.n -= gone

    cdef void note(self, uint32_t at, uint32_t start, uint32_t end) noexcept:
        """This range changed last: it is reported first (RFC 2018 4)."""
        cdef int k, m = 1
        cdef uint32_t old[4]
        for k in range(self.n_recent):
            old[k] = self.recent[k]
        self.recent[0] = at
        for k in range(self.n_recent):
            if m < 4 and (before(old[k], start) or not before(old[k], end)):
                self.recent[m] = old[k]
                m += 1
        self.n_recent = m

    cdef int blocks(self, Range* out, int most) noexcept:
        """SACK blocks: a duplicate first, then ranges from the youngest on; returns how many."""
        cdef int n = 0, k, i
        if self.dsack.start != self.dsack.end and n < most:
            out[n] = self.dsack
            n += 1
        for k in range(self.n_recent):
            if n == most:
                break
            i = self.find(self.recent[k] + 1)
            if i < self.n and not after(self.range[i].start, self.recent[k]):
                out[n] = self.range[i]
                n += 1
        return n

    cdef uint32_t advance(self, uint32_t at) noexcept:
        """Everything before `at` has come: returns up to where the stream is whole now, and lets go of it."""
        cdef int gone = 0
        while gone < self.n and not after(self.range[gone].start, at):
            if after(self.range[gone].end, at):
                at = self.range[gone].end
            gone += 1
        if gone:
            self.skip(gone)
            if self.n == 0:
                self.n_recent = 0
        return at
