"""Requests over TCP without Python per request, and the pools of connections that carry them."""
from libc.stdint cimport uint32_t, uint64_t
from simcore.engine.histogram cimport Histogram
from simcore.net.namespace cimport Namespace
from simcore.transport.tcp cimport App, TcpSocket

cdef enum:
    HEADER = 8                      # bytes: length of the request, length of the response
    DEADLINE = 0x7FFFFFFF           # token of the event at the next deadline
    ENDLESS = 0x7FFFFFFF            # requests that a connection may carry

# A number over time: how long it was how large.
ctypedef struct Level:
    double value
    double seconds                  # its integral until `since`
    double since

cdef inline void level_set(Level* v, double value, double now) noexcept:
    v.seconds += v.value * (now - v.since)
    v.since = now
    v.value = value

cdef class Batch:
    cdef object distribution
    cdef object rng
    cdef object values
    cdef double* at
    cdef int used
    cdef double next(self) noexcept

cdef void count_error(dict errors, int number) noexcept

cdef class Retries:
    cdef int most
    cdef Batch backoff              # None: what failed is tried again at once
    cdef double pause(self, int tried) noexcept

# Something that is waited for, but not for ever.
cdef class Ticket:
    cdef uint64_t serial            # another one, once that is over

cdef class Impatient(App):
    cdef readonly Namespace namespace
    cdef readonly double timeout    # s, 0: for ever
    cdef object deadlines           # (time, Ticket, its serial) of those that are waited for; some are over
    cdef bint looking               # an event is due at the first of them, or being handled
    cdef void expect(self, Ticket t) noexcept
    cdef void look(self) noexcept
    cdef void timed_out(self, Ticket t) noexcept

cdef class Exchange(Ticket):
    cdef TcpSocket socket
    cdef double began
    cdef uint64_t missing           # bytes of the answer that have not come
    cdef uint64_t wanted
    cdef int left                   # requests that this connection may still carry
    cdef bint asking
    cdef void ask(self, Batch request, Batch response) noexcept
    cdef bint hear(self, uint64_t n) noexcept

cdef class Pooled(Exchange):
    cdef Call call                  # None: idle
    cdef int address                # of the upstream's

cdef class Call(Ticket):
    cdef Upstream upstream
    cdef object request             # for which it is made, if there is one
    cdef int left                   # how often it is to be made after this
    cdef double called              # when it was made
    cdef double since               # ... and tried for the last time
    cdef int tried                  # how often before
    cdef Pooled carrier             # the connection that it goes by; None: it waits for one
    cdef uint64_t bytes             # of its answer

cdef class Caller(Impatient):
    cdef void answered_call(self, Call call) noexcept
    cdef void failed_call(self, Call call, int number) noexcept

cdef class Upstream(Impatient):
    cdef readonly list addresses
    cdef readonly int port, count, most
    cdef Caller caller
    cdef Batch request, response
    cdef int per_connection
    cdef dict options
    cdef dict connections           # socket -> Pooled, of those that can be used
    cdef list idle                  # of each address those that nobody uses, the last one used at the end
    cdef int n_idle
    cdef int turn                   # the address of the next call, if it can be had
    cdef object waiting             # calls that wait for a connection
    cdef Retries retries
    cdef dict pausing               # token -> call that will be made again
    cdef uint64_t tokens
    cdef bint supplying
    cdef Level level_used, level_waiting
    cdef readonly uint64_t opened, answered, failed, retried
    cdef readonly dict errors       # errno's name -> how often
    cdef readonly Histogram waits   # s, for a connection of the pool
    cdef readonly Histogram times   # s, from the call, wait and handshake included, to the last byte of the answer
    cdef void make(self, Call call) noexcept
    cdef void attempt(self, Call call) noexcept
    cdef void supply(self) noexcept
    cdef void start(self, Call call)
    cdef Pooled spare(self)
    cdef void lost(self, TcpSocket s, int number) noexcept
    cdef void fail(self, Call call, int number) noexcept
    cdef void account(self) noexcept
