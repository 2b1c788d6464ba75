"""Those who answer: a server and its workers."""
from libc.stdint cimport uint32_t, uint64_t
from simcore.engine.histogram cimport Histogram
from simcore.net.namespace cimport Namespace
from simcore.traffic.upstream cimport Batch, Caller, Level, Request
from simcore.transport.tcp cimport TcpListener, TcpSocket

cdef class Incoming:
    cdef bytes head                 # its first bytes, up to HEADER
    cdef uint32_t missing, answer   # bytes, once it has said

cdef class Server(Caller):
    cdef readonly TcpListener listener
    cdef readonly int workers
    cdef readonly bint asynchronous
    cdef readonly tuple calls
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
