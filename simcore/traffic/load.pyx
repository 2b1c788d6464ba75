import errno
import struct

import simpy

from simcore.engine.draws cimport start_of
from simcore.transport.tcp cimport App, TcpSocket

cdef enum:
    BATCH = 1024


cdef class Batch:
    """Values of a distribution, drawn a thousand at a time."""

    def __init__(self, distribution, rng):
        self.distribution = distribution
        self.rng = rng
        self.used = BATCH

    cdef double next(self) noexcept:
        if self.used == BATCH:
            self.values = self.distribution.sample(self.rng, BATCH)
            self.at = start_of(self.values)
            self.used = 0
        self.used += 1
        return self.at[self.used - 1]


cdef class Exchange:
    """One connection's requests: at most one is under way. Each says how long it is and how long the answer is to be (eight bytes,
    then zeros).
    """

    cdef void ask(self, double request, double response) noexcept:
        """Send a request of so many bytes, for so many."""
        cdef uint32_t n = max(<uint32_t>request, <uint32_t>HEADER)
        self.wanted = self.missing = max(<uint32_t>response, <uint32_t>1)
        self.left -= 1
        self.socket.write(struct.pack("!II", n, self.wanted), True)
        self.socket.write(n - HEADER)

    cdef bint hear(self, uint64_t n) noexcept:
        """So many bytes have come: is that the whole answer?"""
        if n < self.missing:
            self.missing -= n
            return False
        self.missing = 0
        self.asking = False
        return True


cdef class LoadClients(App):
    """A closed loop of users.

    Parameters
    ----------
    namespace : Namespace
    addresses : list of str
        Destinations; users take them in turn.
    port : int
    users : int
        Each has one request under way at most, and one connection.
    think, request, response : Distribution
        Seconds between an answer and the next request; bytes of requests (8 at least) and of answers.
    rng : numpy.random.Generator
    per_connection : int
        Requests that a connection carries before it is closed (keep-alive); 1 for a connection each, 0 for no end.
    start, stop : float
        Seconds; nobody asks after `stop`.
    most : int
        Requests in all, 0 for no end.
    options
        Of the sockets.
    """

    def __init__(self, Namespace namespace, addresses, int port, int users, think, request, response, rng, int per_connection=0,
                 double start=0.0, double stop=float("inf"), uint64_t most=0, **options):
        cdef int i
        if users < 1:
            raise ValueError(f"users {users}: expected at least 1")
        self.namespace = namespace
        namespace.env.handlers.append(self)
        self.addresses = list(addresses)
        self.port = port
        self.think = Batch(think, rng)
        self.request = Batch(request, rng)
        self.response = Batch(response, rng)
        self.per_connection = per_connection
        self.stop = stop
        self.most = most
        self.options = options
        self.times = Histogram()
        self.errors = {}
        self.done = simpy.Event(namespace.env)
        self.users = [Exchange() for _ in range(users)]
        for i in range(users):                      # as if they had been thinking already: not all start at once
            namespace.calendar.at(start + self.think.next() * (i + 1) / users, self, i)

    def forget_times(self):
        """Response times from now on only; the counts go on."""
        self.times = Histogram()

    def waiting(self):
        """How long each request that has no answer yet has been under way, s."""
        return [self.namespace.calendar.now - (<Exchange>u).began for u in self.users if (<Exchange>u).asking]

    @property
    def finished_event(self):
        """Event of the last of `most` requests being over."""
        return self.done

    cdef void fire(self, uint64_t token) noexcept:
        self.ask(<int>token)

    cdef void ask(self, int i) noexcept:
        """A user's next request: over the connection there is, or a new one."""
        cdef Exchange u = <Exchange>self.users[i]
        cdef TcpSocket s
        if self.namespace.calendar.now >= self.stop or self.most and self.started >= self.most:
            return
        self.started += 1
        u.began = self.namespace.calendar.now
        u.asking = True
        if u.socket is not None:
            self.send(i)
            return
        try:
            s = TcpSocket(self.namespace, app=self, **self.options)
            s.tag = i
            u.socket = s
            u.left = self.per_connection if self.per_connection else ENDLESS
            self.connections += 1
            s.connect(self.addresses[i % len(self.addresses)], self.port)
        except OSError as error:
            u.socket = None
            self.failed_with(i, error.errno)
        except Exception as error:
            self.namespace.calendar.fail(error)

    cdef void connected(self, TcpSocket s) noexcept:
        self.send(s.tag)

    cdef void send(self, int i) noexcept:
        cdef double request = self.request.next(), response = self.response.next()       # in this order
        (<Exchange>self.users[i]).ask(request, response)

    cdef void data(self, TcpSocket s) noexcept:
        cdef Exchange u = <Exchange>self.users[s.tag]
        cdef uint64_t n = s.read_count(0xFFFFFFFFU)
        if u.socket is not s or not u.asking or not u.hear(n):
            return
        self.finished += 1
        self.response_bytes += u.wanted
        self.times.record(self.namespace.calendar.now - u.began)
        if u.left <= 0:
            u.socket = None
            s.finish_sending()
        self.rest(s.tag)
        self.check_done()

    cdef void rest(self, int i) noexcept:
        self.namespace.calendar.at(self.namespace.calendar.now + self.think.next(), self, i)

    cdef void ended(self, TcpSocket s) noexcept:
        """The server closed: an answer that was due will not come."""
        cdef Exchange u = <Exchange>self.users[s.tag]
        s.finish_sending()
        if u.socket is s:
            u.socket = None
            if u.asking:
                self.failed_with(s.tag, errno.ECONNRESET)

    cdef void gone(self, TcpSocket s, int number) noexcept:
        cdef Exchange u = <Exchange>self.users[s.tag]
        if u.socket is s:
            u.socket = None
            if u.asking:
                self.failed_with(s.tag, number)

    def failed_with(self, int i, int number):
        """A request failed: counted, and the user tries another after thinking."""
        cdef Exchange u = <Exchange>self.users[i]
        u.asking = False
        self.failed += 1
        name = errno.errorcode.get(number, str(number))
        self.errors[name] = self.errors.get(name, 0) + 1
        self.rest(i)
        self.check_done()

    cdef void check_done(self) noexcept:
        if self.most and self.finished + self.failed >= self.most and not self.done.triggered:
            self.done.succeed()
