"""Those who answer: a server and its workers."""
from libc.stdint cimport uint32_t, uint64_t
from simcore.engine.histogram cimport Histogram
from simcore.net.namespace cimport Namespace
from simcore.traffic.upstream cimport Batch, Call, Caller, Level
from simcore.transport.tcp cimport TcpListener, TcpSocket

cdef class Incoming:
    cdef bytes head                 # its first bytes, up to HEADER
    cdef uint32_t missing, answer   # bytes, once it has said

# On its way through the server.
cdef class Request:
    cdef TcpSocket socket
    cdef uint32_t answer            # bytes
    cdef double arrived
    cdef bint working               # it has a worker
    cdef int stage                  # of the server's calls those that are next
    cdef int missing                # calls of the stage before that are not answered
    cdef bint failed                # one of them has failed

cdef class Server(Caller):
    cdef readonly TcpListener listener
    cdef readonly int workers
    cdef readonly bint asynchronous
    cdef readonly tuple calls       # of tuples, whose calls are made side by side
    cdef Batch service
    cdef dict heard                 # open socket -> Incoming
    cdef dict delayed               # token -> Request that is worked on
    cdef uint64_t tokens
    cdef object queue               # requests that wait for a worker
    cdef int busy
    cdef bint dispatching
    cdef Level level_busy, level_queue, level_open
    cdef readonly uint64_t requests, answered, failed
    cdef readonly Histogram waits   # s, for a worker
    cdef readonly Histogram times   # s, from a request's last byte to the answer's first
    cdef void come(self, TcpSocket s, uint32_t answer) noexcept
    cdef void dispatch(self) noexcept
    cdef void take(self, Request r) noexcept
    cdef void worked(self, Request r) noexcept
    cdef void proceed(self, Request r) noexcept
    cdef void free(self, Request r) noexcept
    cdef void let_go(self, TcpSocket s) noexcept
    cdef void account(self) noexcept
