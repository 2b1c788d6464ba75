"""The sockets of a namespace, by what they are bound to."""
cimport cython
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from simcore.engine.calendar cimport Calendar, Handler
from simcore.engine.frame cimport Frame
from simcore.engine.map cimport U64Map

cdef enum:                              # what a socket is bound to
    BOTH_ENDS = 0
    ONE_ADDRESS = 1
    ANY_ADDRESS = 2

cdef class Endpoint(Handler):
    """A socket as the stack sees it."""
    cdef readonly int protocol
    cdef readonly uint32_t local_ip     # 0: any
    cdef readonly uint32_t remote_ip    # 0: any
    cdef readonly uint16_t local_port
    cdef readonly uint16_t remote_port
    cdef public uint32_t mark           # SO_MARK: of what it sends
    cdef uint32_t place                 # among those that are registered, from 1 on; 0: it is not
    cdef double confirmed               # when the other end last said that something had arrived; 0: never
    cdef void packet(self, Frame* f, uint32_t l4) noexcept
    cdef void error(self, int kind, int code, uint32_t info) noexcept

@cython.final
cdef class Endpoints:
    cdef Calendar calendar
    cdef U64Map places
    cdef uint32_t bound[3]              # how many there are of each kind
    cdef uint16_t next_port
    cdef list members                   # keeps alive what `places` points to
    cdef readonly set waiting           # not registered, but with an event in the calendar, which only borrows its handlers
    cdef dict exhausted                 # what no ephemeral port was free for -> `removed` at that time
    cdef uint64_t removed               # sockets that have given their ports back
    cdef void put(self, Endpoint e)
    cdef void* lookup(self, int protocol, uint32_t lip, uint16_t lport, uint32_t rip, uint16_t rport) noexcept

    cdef inline void* find(self, int protocol, uint32_t local, uint16_t lport, uint32_t remote, uint16_t rport) noexcept:
        """The Endpoint for a packet: connected first, then bound to the address, then to any; NULL if there is none."""
        cdef void* e = NULL
        if self.bound[BOTH_ENDS]:
            e = self.lookup(protocol, local, lport, remote, rport)
        if e == NULL and self.bound[ONE_ADDRESS]:
            e = self.lookup(protocol, local, lport, 0, 0)
        if e == NULL and self.bound[ANY_ADDRESS]:
            e = self.lookup(protocol, 0, lport, 0, 0)
        return e
