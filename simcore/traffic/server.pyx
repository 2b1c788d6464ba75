import errno
import struct
from collections import deque

from simcore.traffic.load cimport ENDLESS, HEADER


cdef inline void level_set(Level* v, double value, double now) noexcept:
    v.seconds += v.value * (now - v.since)
    v.since = now
    v.value = value


cdef class Request:
    """One on its way through a server."""


cdef class Pooled(Exchange):
    """A connection to an upstream, of a pool."""


cdef class Upstream(App):
    """Whom a server asks before it answers, and its connections to there.

    Calls take the addresses in turn, and of an address's connections one that is idle, the last one used; else a new one, of `pool` at a
    time; else one to another address; else they wait. A call that fails is not tried again.

    Parameters
    ----------
    namespace : Namespace
        The server's.
    addresses : list of str
        Destinations.
    port : int
    request, response : Distribution
        Bytes of requests (8 at least) and of answers.
    rng : numpy.random.Generator
    count : int
        Calls that each of the server's requests makes, one after the other.
    pool : int
        Connections at a time, 0 for as many as there are calls under way.
    per_connection : int
        Calls that a connection carries before it is closed (keep-alive), 0 for no end.
    options
        Of the sockets.
    """

    def __init__(self, Namespace namespace, addresses, int port, request, response, rng, int count=1, int pool=0, int per_connection=0,
                 **options):
        self.namespace = namespace
        self.addresses = list(addresses)
        self.port = port
        self.count = count
        self.most = pool
        self.per_connection = per_connection
        self.options = options
        self.request = Batch(request, rng)
        self.response = Batch(response, rng)
        self.connections = {}
        self.idle = [[] for _ in self.addresses]
        self.waiting = deque()
        self.errors = {}
        self.waits = Histogram()
        self.times = Histogram()
        namespace.env.handlers.append(self)

    def forget_times(self):
        """Waiting and response times from now on only; the counts go on."""
        self.waits = Histogram()
        self.times = Histogram()

    def counts(self):
        """What only goes up: answered, failed, opened; seconds of connections in use, and of calls that waited for one."""
        self.account()
        return {"answered": self.answered, "failed": self.failed, "opened": self.opened, "used_s": self.level_used.seconds,
                "waiting_s": self.level_waiting.seconds, **{f"error {name}": n for name, n in self.errors.items()}}

    cdef void account(self) noexcept:
        cdef double now = self.namespace.calendar.now
        level_set(&self.level_used, <double>(<int>len(self.connections) - self.n_idle), now)
        level_set(&self.level_waiting, <double>len(self.waiting), now)

    cdef void call(self, Request r) noexcept:
        r.called = self.namespace.calendar.now
        self.waiting.append(r)
        self.supply()

    cdef void supply(self) noexcept:
        """Give connections to those that wait, as long as there are some."""
        if self.supplying:                      # further down: a call that failed at once led to the next
            return
        self.supplying = True
        try:
            while self.waiting and (self.n_idle or not self.most or <int>len(self.connections) < self.most):
                self.start(self.waiting.popleft())
        except Exception as error:
            self.namespace.calendar.fail(error)
        self.supplying = False
        self.account()

    cdef void start(self, Request r):
        cdef Pooled c = self.spare()
        cdef TcpSocket s
        cdef double request, response
        self.waits.record(self.namespace.calendar.now - r.called)
        if c is not None:
            c.request = r
            c.asking = True
            request = self.request.next()
            response = self.response.next()
            c.ask(request, response)
            return
        c = Pooled()
        c.address = self.turn
        self.turn = (self.turn + 1) % <int>len(self.addresses)
        c.left = self.per_connection if self.per_connection else ENDLESS
        try:
            s = c.socket = TcpSocket(self.namespace, app=self, **self.options)
            self.connections[s] = c
            c.request = r
            s.connect(self.addresses[c.address], self.port)
            self.opened += 1
        except OSError as error:
            self.connections.pop(c.socket, None)
            self.fail(r, error.errno)

    cdef Pooled spare(self):
        """An idle connection: to the address whose turn it is, or if there can be no new one, to the first other that has one."""
        cdef int i, n = <int>len(self.addresses), at
        for i in range(1 if not self.most or <int>len(self.connections) < self.most else n):
            at = (self.turn + i) % n
            if self.idle[at]:
                self.turn = (at + 1) % n
                self.n_idle -= 1
                return self.idle[at].pop()
        return None

    cdef void connected(self, TcpSocket s) noexcept:
        cdef Pooled c = self.connections[s]
        cdef double request = self.request.next(), response = self.response.next()
        c.asking = True
        c.ask(request, response)

    cdef void data(self, TcpSocket s) noexcept:
        cdef uint64_t n = s.read_count(0xFFFFFFFFU)
        cdef Pooled c = self.connections.get(s)
        cdef Request r
        if c is None or not c.asking or not c.hear(n):
            return
        r, c.request = c.request, None
        self.answered += 1
        self.times.record(self.namespace.calendar.now - r.called)
        if c.left > 0:
            self.idle[c.address].append(c)
            self.n_idle += 1
        else:
            self.connections.pop(s)
            s.finish_sending()
        self.supply()
        self.server.proceed(r)

    cdef void ended(self, TcpSocket s) noexcept:
        """The other side closed: an answer that was due will not come."""
        s.finish_sending()
        self.lost(s, errno.ECONNRESET)

    cdef void gone(self, TcpSocket s, int number) noexcept:
        self.lost(s, number)

    cdef void lost(self, TcpSocket s, int number) noexcept:
        cdef Pooled c = self.connections.pop(s, None)
        if c is None:
            return
        if c.request is None:
            self.idle[c.address].remove(c)
            self.n_idle -= 1
        else:
            self.fail(c.request, number)
        self.supply()

    cdef void fail(self, Request r, int number) noexcept:
        self.failed += 1
        name = errno.errorcode.get(number, str(number))
        self.errors[name] = self.errors.get(name, 0) + 1
        self.server.failing(r)


cdef class Server(App):
    """Answers requests: each says how long it is and how long the answer is to be (eight bytes, then zeros).

    A request waits for a worker, which works on it, makes the calls that it takes, one after the other, and answers. If a call fails,
    its connection is closed without an answer.

    Parameters
    ----------
    namespace : Namespace
    port : int
    service : Distribution, optional
        Seconds that a worker works on a request; none if not given.
    rng : numpy.random.Generator, optional
        For it; a constant needs none.
    workers : int
        Requests that are worked on at a time, 0 for any number; the others wait in the order they came.
    asynchronous : bool
        Whether a worker takes the next request while one waits for its calls.
    calls : sequence of Upstream
    connections : int
        Open at a time, 0 for any number: more wait to be accepted, `backlog` of them.
    options
        Of the listener and its sockets.
    """

    def __init__(self, Namespace namespace, int port, service=None, rng=None, int workers=0, bint asynchronous=False, calls=(),
                 int connections=0, **options):
        cdef Upstream upstream
        self.namespace = namespace
        self.workers = workers
        self.asynchronous = asynchronous
        self.service = None if service is None else Batch(service, rng)
        self.calls = tuple(calls)
        for upstream in self.calls:
            upstream.server = self
        self.heard = {}
        self.delayed = {}
        self.queue = deque()
        self.waits = Histogram()
        self.times = Histogram()
        namespace.env.handlers.append(self)
        self.listener = TcpListener(namespace, port, app=self, most=connections, **options)

    def forget_times(self):
        """Waiting and response times from now on only; the counts go on."""
        self.waits = Histogram()
        self.times = Histogram()

    def counts(self):
        """What only goes up: requests, answered, failed, overflows of the backlog; seconds of workers that were busy, of requests
        that waited for one, and of connections that were open.
        """
        self.account()
        return {"requests": self.requests, "answered": self.answered, "failed": self.failed, "overflows": self.listener.overflows,
                "busy_s": self.level_busy.seconds, "queue_s": self.level_queue.seconds,
                "open_s": self.level_open.seconds}

    cdef void account(self) noexcept:
        cdef double now = self.namespace.calendar.now
        level_set(&self.level_busy, self.busy, now)
        level_set(&self.level_queue, <double>len(self.queue), now)
        level_set(&self.level_open, <double>len(self.heard), now)

    cdef void connected(self, TcpSocket s) noexcept:
        self.heard[s] = b""
        self.account()

    cdef void data(self, TcpSocket s) noexcept:
        cdef bytes held
        cdef uint32_t length, answer
        cdef Request r
        try:
            held = self.heard.get(s)
            if held is None:                    # closed on this side
                s.read_count(0xFFFFFFFFU)
                return
            held += s.read(0xFFFFFFFFU)
            while len(held) >= HEADER:
                length, answer = struct.unpack_from("!II", held)
                length = max(length, <uint32_t>HEADER)
                if <uint32_t>len(held) < length:
                    break
                held = held[length:]
                r = Request()
                r.socket = s
                r.answer = answer
                r.arrived = self.namespace.calendar.now
                self.requests += 1
                self.queue.append(r)
            self.heard[s] = held
            self.dispatch()
        except Exception as error:
            self.namespace.calendar.fail(error)

    cdef void dispatch(self) noexcept:
        """Give workers to those that wait, as long as there are some."""
        if self.dispatching:                    # further down: a request that takes no time leads to the next
            return
        self.dispatching = True
        while self.queue and (not self.workers or self.busy < self.workers):
            self.take(self.queue.popleft())
        self.dispatching = False
        self.account()

    cdef void take(self, Request r) noexcept:
        cdef double now = self.namespace.calendar.now, work = self.service.next() if self.service is not None else 0.0
        self.waits.record(now - r.arrived)
        self.busy += 1
        r.working = True
        if work > 0:
            self.tokens += 1
            self.delayed[self.tokens] = r
            self.namespace.calendar.at(now + work, self, self.tokens)
        else:
            self.worked(r)

    cdef void fire(self, uint64_t token) noexcept:
        self.worked(self.delayed.pop(token))
        self.dispatch()

    cdef void worked(self, Request r) noexcept:
        if self.asynchronous:
            self.free(r)
        self.proceed(r)

    cdef void proceed(self, Request r) noexcept:
        """Make the request's next call, or answer it."""
        cdef Upstream upstream
        while r.call < len(self.calls):
            upstream = self.calls[r.call]
            if r.left < upstream.count:
                r.left += 1
                upstream.call(r)
                return
            r.call += 1
            r.left = 0
        self.answered += 1
        self.times.record(self.namespace.calendar.now - r.arrived)
        r.socket.write(r.answer)
        self.free(r)
        self.dispatch()

    cdef void failing(self, Request r) noexcept:
        """One of its calls has failed: whoever asked gets no answer."""
        self.failed += 1
        r.socket.finish_sending()
        self.let_go(r.socket)
        self.free(r)
        self.dispatch()

    cdef void free(self, Request r) noexcept:
        if r.working:
            r.working = False
            self.busy -= 1

    cdef void let_go(self, TcpSocket s) noexcept:
        if self.heard.pop(s, None) is not None:
            self.account()
            self.listener.released()

    cdef void ended(self, TcpSocket s) noexcept:
        s.finish_sending()
        self.let_go(s)

    cdef void gone(self, TcpSocket s, int number) noexcept:
        self.let_go(s)
