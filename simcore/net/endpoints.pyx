import errno

from simcore.engine.ahead cimport LINE, prefetch
from simcore.engine.frame cimport frame_free
from simcore.engine.map cimport key_from

cdef enum:
    SOCKET_LINES = 6                    # of memory that a socket takes up, of those that each segment needs


cdef class Endpoint(Handler):
    cdef void packet(self, Frame* f, uint32_t l4) noexcept:
        frame_free(f)

    cdef void error(self, int kind, int code, uint32_t info) noexcept:
        pass


cdef inline uint64_t key_of(int protocol, uint32_t lip, uint16_t lport, uint32_t rip, uint16_t rport) noexcept nogil:
    cdef uint64_t k = (<uint64_t>lip << 32) | rip
    k *= <uint64_t>0x9E3779B97F4A7C15ULL
    return key_from(k ^ (k >> 31) ^ (<uint64_t>lport << 24) ^ (<uint64_t>rport << 8) ^ protocol)


cdef inline uint64_t own_key(Endpoint e) noexcept:
    return key_of(e.protocol, e.local_ip, e.local_port, e.remote_ip, e.remote_port)


cdef inline bint is_bound(void* e, int protocol, uint32_t lip, uint16_t lport, uint32_t rip, uint16_t rport) noexcept:
    """Is this Endpoint's both ends these?"""
    return ((<Endpoint>e).protocol == protocol and (<Endpoint>e).local_ip == lip and (<Endpoint>e).local_port == lport
            and (<Endpoint>e).remote_ip == rip and (<Endpoint>e).remote_port == rport)


cdef int binding(Endpoint e):
    return BOTH_ENDS if e.remote_ip else ONE_ADDRESS if e.local_ip else ANY_ADDRESS


cdef class Endpoints:
    """The sockets that receive.

    Keys of sockets that collide are found by counting up.
    """

    def __cinit__(self, Calendar calendar):
        self.calendar = calendar
        self.places = U64Map()
        self.members = []
        self.waiting = set()
        self.exhausted = {}

    def __iter__(self):
        return iter(self.members)

    cdef void* lookup(self, int protocol, uint32_t lip, uint16_t lport, uint32_t rip, uint16_t rport) noexcept:
        """The Endpoint bound to this; NULL if there is none."""
        cdef uint64_t key = key_of(protocol, lip, lport, rip, rport), value
        cdef uint32_t i
        while self.places.get(key, &value):
            if rip and self.calendar.crowded():     # one of thousands: ask for all of its state at once
                for i in range(SOCKET_LINES):
                    prefetch(<const char*><size_t>value + LINE * i)
            if is_bound(<void*><size_t>value, protocol, lip, lport, rip, rport):
                return <void*><size_t>value
            key += 1
        return NULL

    cdef void put(self, Endpoint e):
        cdef uint64_t key = own_key(e), value
        while self.places.get(key, &value):
            key += 1
        self.places.put(key, <uint64_t><size_t><void*>e)

    def register(self, Endpoint e):
        """Let a socket receive; OSError EADDRINUSE if its tuple is taken."""
        if self.lookup(e.protocol, e.local_ip, e.local_port, e.remote_ip, e.remote_port) != NULL:
            raise OSError(errno.EADDRINUSE, "EADDRINUSE: address already in use")
        self.put(e)
        self.members.append(e)
        e.place = <uint32_t>len(self.members)
        self.bound[binding(e)] += 1

    def unregister(self, Endpoint e):
        """The socket receives no more."""
        cdef uint64_t key = own_key(e), value
        cdef list moved = []
        cdef Endpoint last
        if e.place == 0:
            return
        last = self.members.pop()
        if last is not e:                           # takes its place
            self.members[e.place - 1] = last
            last.place = e.place
        e.place = 0
        self.removed += 1
        self.bound[binding(e)] -= 1
        while self.places.get(key, &value) and <void*><size_t>value != <void*>e:
            key += 1
        self.places.remove(key)
        key += 1
        while self.places.get(key, &value):         # put back those behind the gap
            moved.append(<object><void*><size_t>value)
            self.places.remove(key)
            key += 1
        for e in moved:
            self.put(e)

    def ephemeral_port(self, int protocol, uint32_t local, uint32_t remote, uint16_t rport, int low, int high):
        """A free port from `low` to `high`, after the last one taken; OSError EADDRNOTAVAIL if there is none."""
        cdef int i, port
        wanted = (protocol, local, remote, rport, low, high)
        if self.exhausted.get(wanted) == self.removed:      # none was free, and none has become free since
            raise OSError(errno.EADDRNOTAVAIL, "EADDRNOTAVAIL: no free local port")
        for i in range(high - low + 1):
            port = low + (self.next_port + i) % (high - low + 1)
            if self.lookup(protocol, local, port, remote, rport) == NULL and self.lookup(protocol, 0, port, 0, 0) == NULL:
                self.next_port = <uint16_t>((self.next_port + i + 1) % (high - low + 1))
                return port
        self.exhausted[wanted] = self.removed
        raise OSError(errno.EADDRNOTAVAIL, "EADDRNOTAVAIL: no free local port")
