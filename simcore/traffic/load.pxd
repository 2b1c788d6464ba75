"""Those who ask: users who wait for the answer and think, or requests at a rate."""
from libc.stdint cimport uint64_t
from simcore.engine.histogram cimport Histogram
from simcore.net.namespace cimport Namespace
from simcore.traffic.upstream cimport Batch, Call, Caller, Exchange, Retries, Ticket, Upstream
from simcore.transport.tcp cimport TcpSocket

cdef class Clients(Caller):
    cdef double stop
    cdef uint64_t most
    cdef readonly uint64_t started
    cdef readonly uint64_t finished
    cdef readonly uint64_t failed
    cdef readonly uint64_t response_bytes
    cdef readonly Histogram times   # s, from the request (or the connection's SYN) to the last byte of the response
    cdef readonly dict errors       # errno's name -> how often
    cdef object done
    cdef bint over(self) noexcept
    cdef void count_failed(self, int number) noexcept
    cdef void check_done(self) noexcept

cdef class User(Exchange):
    cdef int tried                  # how often this request was tried before

cdef class LoadClients(Clients):
    cdef readonly list addresses
    cdef readonly int port
    cdef list users
    cdef Batch think, request, response
    cdef int per_connection
    cdef dict options
    cdef Retries retries
    cdef readonly uint64_t connections
    cdef readonly uint64_t retried
    cdef void rest(self, int i, double pause) noexcept
    cdef void ask(self, int i) noexcept
    cdef void send(self, int i) noexcept
    cdef void failed_with(self, int i, int number) noexcept

cdef class Arrivals(Clients):
    cdef Upstream upstream
    cdef Batch gaps
    cdef dict under_way             # calls without an answer so far, in the order that they came
