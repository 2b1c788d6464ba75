"""Those who ask, over TCP, without Python per request."""
from libc.stdint cimport uint32_t, uint64_t
from simcore.engine.histogram cimport Histogram
from simcore.net.namespace cimport Namespace
from simcore.transport.tcp cimport App, TcpSocket

cdef enum:
    HEADER = 8                      # bytes: length of the request, length of the response
    ENDLESS = 0x7FFFFFFF            # requests that a connection may carry

cdef class Batch:
    cdef object distribution
    cdef object rng
    cdef object values
    cdef double* at
    cdef int used
    cdef double next(self) noexcept

cdef class Exchange:
    cdef TcpSocket socket
    cdef double began
    cdef uint64_t missing           # bytes of the answer that have not come
    cdef uint64_t wanted
    cdef int left                   # requests that this connection may still carry
    cdef bint asking
    cdef void ask(self, double request, double response) noexcept
    cdef bint hear(self, uint64_t n) noexcept

cdef class LoadClients(App):
    cdef readonly Namespace namespace
    cdef readonly list addresses
    cdef readonly int port
    cdef list users
    cdef Batch think, request, response
    cdef int per_connection
    cdef double stop
    cdef uint64_t most
    cdef dict options
    cdef readonly uint64_t started
    cdef readonly uint64_t finished
    cdef readonly uint64_t failed
    cdef readonly uint64_t connections
    cdef readonly uint64_t response_bytes
    cdef readonly Histogram times   # s, from the request (or the connection's SYN) to the last byte of the response
    cdef readonly dict errors       # errno's name -> how often
    cdef object done
    cdef void rest(self, int i) noexcept
    cdef void ask(self, int i) noexcept
    cdef void send(self, int i) noexcept
    cdef void check_done(self) noexcept
