"""Those who answer: a server's workers, and the connections by which it asks others."""
from libc.stdint cimport uint32_t, uint64_t
from simcore.engine.histogram cimport Histogram
from simcore.net.namespace cimport Namespace
from simcore.traffic.load cimport Batch, Exchange
from simcore.transport.tcp cimport App, TcpListener, TcpSocket

# A number over time: how long it was how large.
ctypedef struct Level:
    double value
    double seconds                  # its integral until `since`
    double since

cdef class Request:
    cdef TcpSocket socket
    cdef uint32_t answer            # bytes
    cdef double arrived
    cdef bint working               # it has a worker
    cdef int call, left             # of the server's calls the one that is its turn, and how often yet
    cdef double called              # when the call at hand was made

cdef class Pooled(Exchange):
    cdef Request request            # None: idle
    cdef int address                # of the upstream's

cdef class Upstream(App):
    cdef readonly Namespace namespace
    cdef readonly list addresses
    cdef readonly int port, count, most
    cdef Server server
    cdef Batch request, response
    cdef int per_connection
    cdef dict options
    cdef dict connections           # socket -> Pooled, of those that can be used
    cdef list idle                  # of each address those that nobody uses, the last one used at the end
    cdef int n_idle
    cdef int turn                   # the address of the next call, if it can be had
    cdef object waiting             # requests that wait for a connection
    cdef bint supplying
    cdef Level level_used, level_waiting
    cdef readonly uint64_t opened, answered, failed
    cdef readonly dict errors       # errno's name -> how often
    cdef readonly Histogram waits   # s, for a connection of the pool
    cdef readonly Histogram times   # s, from the call, wait and handshake included, to the last byte of the answer
    cdef void call(self, Request r) noexcept
    cdef void supply(self) noexcept
    cdef void start(self, Request r)
    cdef Pooled spare(self)
    cdef void lost(self, TcpSocket s, int number) noexcept
    cdef void fail(self, Request r, int number) noexcept
    cdef void account(self) noexcept

cdef class Server(App):
    cdef readonly Namespace namespace
    cdef readonly TcpListener listener
    cdef readonly int workers
    cdef readonly bint asynchronous
    cdef readonly tuple calls
    cdef Batch service
    cdef dict heard                 # open socket -> bytes of the request at hand
    cdef dict delayed               # token -> Request that is worked on
    cdef uint64_t tokens
    cdef object queue               # requests that wait for a worker
    cdef int busy
    cdef bint dispatching
    cdef Level level_busy, level_queue, level_open
    cdef readonly uint64_t requests, answered, failed
    cdef readonly Histogram waits   # s, for a worker
    cdef readonly Histogram times   # s, from a request's last byte to the answer's first
    cdef void dispatch(self) noexcept
    cdef void take(self, Request r) noexcept
    cdef void worked(self, Request r) noexcept
    cdef void proceed(self, Request r) noexcept
    cdef void failing(self, Request r) noexcept
    cdef void free(self, Request r) noexcept
    cdef void let_go(self, TcpSocket s) noexcept
    cdef void account(self) noexcept
