from libc.stdlib cimport abort, free, realloc
from libc.string cimport memmove


cdef class RouteTable:
    """Routes, the most specific first; at equal length the lower metric, then the older one."""

    def __dealloc__(self):
        free(self.routes)

    cdef void add(self, Route r) noexcept:
        cdef int i = 0
        if self.n == self.room:
            self.room = self.room * 2 if self.room else 8
            self.routes = <Route*>realloc(self.routes, self.room * sizeof(Route))
            if self.routes == NULL:
                abort()
        while i < self.n and (self.routes[i].mask > r.mask
                              or (self.routes[i].mask == r.mask and self.routes[i].metric <= r.metric)):
            i += 1
        memmove(&self.routes[i + 1], &self.routes[i], (self.n - i) * sizeof(Route))
        self.routes[i] = r
        self.n += 1

    cdef int lookup(self, uint32_t dst) noexcept:
        """Index of the route to `dst`, -1 if there is none."""
        cdef int i
        for i in range(self.n):
            if (dst & self.routes[i].mask) == self.routes[i].network:
                return i
        return -1
