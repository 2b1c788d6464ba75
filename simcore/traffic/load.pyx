import errno

import simpy

from simcore.traffic.distributions import Distribution
from simcore.traffic.upstream cimport DEADLINE, ENDLESS, count_error


cdef class Clients(Caller):
    """Those who ask, whatever makes them.

    Parameters
    ----------
    namespace : Namespace
    stop : float
        Seconds; nobody asks after that.
    most : int
        Requests in all, 0 for no end.
    timeout : float
        Seconds for an answer, 0 for no end.
    """

    def __init__(self, Namespace namespace, double stop=float("inf"), uint64_t most=0, double timeout=0.0):
        super().__init__(namespace, timeout)
        self.stop = stop
        self.most = most
        self.times = Histogram()
        self.errors = {}
        self.done = simpy.Event(namespace.env)

    def forget_times(self):
        """Response times from now on only; the counts go on."""
        self.times = Histogram()

    @property
    def finished_event(self):
        """Event of the last of `most` requests being over."""
        return self.done

    cdef bint over(self) noexcept:
        """Does nobody ask any more?"""
        return self.namespace.calendar.now >= self.stop or self.most and self.started >= self.most

    cdef void count_failed(self, int number) noexcept:
        self.failed += 1
        count_error(self.errors, number)

    cdef void check_done(self) noexcept:
        if self.most and self.finished + self.failed >= self.most and not self.done.triggered:
            self.done.succeed()


cdef class User(Exchange):
    """One who has a request under way at most."""


cdef class LoadClients(Clients):
    """A closed loop of users.

    Parameters
    ----------
    namespace : Namespace
    addresses : list of str
        Destinations; users take them in turn.
    port : int
    users : int
        Each has one connection.
    think, request, response : Distribution
        Seconds between an answer and the next request; bytes of requests (8 at least) and of answers.
    rng : numpy.random.Generator
    per_connection : int
        Requests that a connection carries before it is closed (keep-alive); 1 for a connection each, 0 for no end.
    start, stop : float
        Seconds; nobody asks after `stop`.
    most : int
        Requests in all, 0 for no end.
    timeout : float
        Seconds, a handshake included, after which a request has failed, and its connection is reset; 0 for no end.
    retries : Retries, optional
        Of a request that failed; its response time is from the first try on.
    options
        Of the sockets.
    """

    def __init__(self, Namespace namespace, addresses, int port, int users, think, request, response, rng, int per_connection=0,
                 double start=0.0, double stop=float("inf"), uint64_t most=0, double timeout=0.0, Retries retries=None, **options):
        cdef int i
        if users < 1:
            raise ValueError(f"users {users}: expected at least 1")
        super().__init__(namespace, stop, most, timeout)
        self.addresses = list(addresses)
        self.port = port
        self.think = Batch(think, rng)
        self.request = Batch(request, rng)
        self.response = Batch(response, rng)
        self.per_connection = per_connection
        self.retries = Retries() if retries is None else retries
        self.options = options
        self.users = [User() for _ in range(users)]
        for i in range(users):                      # as if they had been thinking already: not all start at once
            namespace.calendar.at(start + self.think.next() * (i + 1) / users, self, i)

    def waiting(self):
        """How long each request that has no answer yet has been under way, s."""
        return [self.namespace.calendar.now - (<User>u).began for u in self.users if (<User>u).asking or (<User>u).tried]

    cdef void fire(self, uint64_t token) noexcept:
        if token == DEADLINE:
            self.look()
        else:
            self.ask(<int>token)

    cdef void timed_out(self, Ticket t) noexcept:
        cdef User u = <User>t
        cdef TcpSocket s = u.socket
        u.socket = None
        s.abort()
        self.failed_with(s.tag, errno.ETIMEDOUT)

    cdef void ask(self, int i) noexcept:
        """A user's next request, or once more the last one: over the connection there is, or a new one."""
        cdef User u = <User>self.users[i]
        cdef TcpSocket s
        if u.tried == 0:
            if self.over():
                return
            self.started += 1
            u.began = self.namespace.calendar.now
        u.asking = True
        self.expect(u)
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
        (<User>self.users[i]).ask(self.request, self.response)

    cdef void data(self, TcpSocket s) noexcept:
        cdef User u = <User>self.users[s.tag]
        cdef uint64_t n = s.read_count(0xFFFFFFFFU)
        if u.socket is not s or not u.asking or not u.hear(n):
            return
        u.serial += 1
        u.tried = 0
        self.finished += 1
        self.response_bytes += u.wanted
        self.times.record(self.namespace.calendar.now - u.began)
        if u.left <= 0:
            u.socket = None
            s.finish_sending()
        self.rest(s.tag, self.think.next())
        self.check_done()

    cdef void rest(self, int i, double pause) noexcept:
        self.namespace.calendar.at(self.namespace.calendar.now + pause, self, i)

    cdef void ended(self, TcpSocket s) noexcept:
        """The server closed: an answer that was due will not come."""
        cdef User u = <User>self.users[s.tag]
        s.finish_sending()
        if u.socket is s:
            u.socket = None
            if u.asking:
                self.failed_with(s.tag, errno.ECONNRESET)

    cdef void gone(self, TcpSocket s, int number) noexcept:
        cdef User u = <User>self.users[s.tag]
        if u.socket is s:
            u.socket = None
            if u.asking:
                self.failed_with(s.tag, number)

    cdef void failed_with(self, int i, int number) noexcept:
        """A request failed: the user tries it again, or it is counted, and there will be another after thinking."""
        cdef User u = <User>self.users[i]
        cdef double pause = self.retries.pause(u.tried)
        u.asking = False
        u.serial += 1
        if pause >= 0:
            u.tried += 1
            self.retried += 1
            self.rest(i, pause)
            return
        u.tried = 0
        self.count_failed(number)
        self.rest(i, self.think.next())
        self.check_done()


cdef class Arrivals(Clients):
    """Requests at a rate, whether or not those before are answered: an open loop.

    Parameters
    ----------
    namespace : Namespace
    upstream : Upstream
        Whom they ask, and over which connections.
    rate : float
        Requests per second.
    rng : numpy.random.Generator, optional
        Of a Poisson process; without, they are evenly spaced.
    start, stop, most
        As of `LoadClients`.
    """

    def __init__(self, Namespace namespace, Upstream upstream, double rate, rng=None, double start=0.0, double stop=float("inf"),
                 uint64_t most=0):
        if rate <= 0:
            raise ValueError(f"rate {rate:g}: expected more than 0")
        super().__init__(namespace, stop, most)
        self.upstream = upstream
        upstream.caller = self
        self.under_way = {}
        self.gaps = Batch(Distribution({"exponential": 1 / rate} if rng is not None else 1 / rate), rng)
        namespace.calendar.at(start + self.gaps.next(), self, 0)

    @property
    def connections(self):
        """How many were opened."""
        return self.upstream.opened

    @property
    def retried(self):
        """How many requests that failed were made again."""
        return self.upstream.retried

    def forget_times(self):
        """Response times from now on only; the counts go on."""
        super().forget_times()
        self.upstream.forget_times()

    def waiting(self):
        """How long each request that has no answer yet has been under way, s."""
        return [self.namespace.calendar.now - (<Call>call).called for call in self.under_way]

    cdef void fire(self, uint64_t token) noexcept:
        cdef Call call
        if self.over():
            return
        self.started += 1
        call = Call()
        self.under_way[call] = None
        self.namespace.calendar.at(self.namespace.calendar.now + self.gaps.next(), self, 0)
        self.upstream.make(call)

    cdef void answered_call(self, Call call) noexcept:
        self.under_way.pop(call)
        self.finished += 1
        self.response_bytes += call.bytes
        self.times.record(self.namespace.calendar.now - call.called)
        self.check_done()

    cdef void failed_call(self, Call call, int number) noexcept:
        self.under_way.pop(call)
        self.count_failed(number)
        self.check_done()
