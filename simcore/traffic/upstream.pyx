import errno
import struct
from collections import deque

from simcore.engine.draws cimport start_of

cdef enum:
    BATCH = 1024
    DOUBLINGS = 10              # of the pause before a call is made again


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


cdef void count_error(dict errors, int number) noexcept:
    """Count an errno by its name."""
    name = errno.errorcode.get(number, str(number))
    errors[name] = errors.get(name, 0) + 1


cdef class Retries:
    """How often what failed is tried again, and after which pauses.

    Parameters
    ----------
    most : int
        Times.
    backoff : Distribution, optional
        Seconds of the first pause; twice as long each time (ten times at most). None if not given.
    rng : numpy.random.Generator, optional
        For it; a constant needs none.
    """

    def __init__(self, int most=0, backoff=None, rng=None):
        self.most = most
        self.backoff = None if backoff is None else Batch(backoff, rng)

    cdef double pause(self, int tried) noexcept:
        """Seconds until it is tried again, having been `tried` again so often; less than 0 if it is not."""
        if tried >= self.most:
            return -1.0
        return 0.0 if self.backoff is None else self.backoff.next() * (1 << min(tried, DOUBLINGS))


cdef class Ticket:
    """Something that is waited for."""


cdef class Impatient(App):
    """One who waits for no thing longer than a certain time."""

    def __init__(self, Namespace namespace, double timeout=0.0):
        self.namespace = namespace
        self.timeout = timeout
        self.deadlines = deque()
        namespace.env.handlers.append(self)

    cdef void expect(self, Ticket t) noexcept:
        """Wait for this from now on."""
        cdef double when
        if self.timeout <= 0:
            return
        when = self.namespace.calendar.now + self.timeout
        self.deadlines.append((when, t, t.serial))      # all wait as long, so they are in order
        if not self.looking:
            self.looking = True
            self.namespace.calendar.at(when, self, DEADLINE)

    cdef void look(self) noexcept:
        """The first deadline has come: what is still waited for then has taken too long."""
        cdef double when
        cdef uint64_t serial
        cdef Ticket t
        while self.deadlines:
            when, t, serial = self.deadlines[0]
            if t.serial == serial and when > self.namespace.calendar.now:
                self.namespace.calendar.at(when, self, DEADLINE)
                return
            self.deadlines.popleft()
            if t.serial == serial:
                self.timed_out(t)
        self.looking = False

    cdef void timed_out(self, Ticket t) noexcept:
        """It has been waited for too long."""


cdef class Exchange(Ticket):
    """One connection's requests: at most one is under way. Each says how long it is and how long the answer is to be (eight bytes,
    then zeros).
    """

    cdef void ask(self, Batch request, Batch response) noexcept:
        """Send a request of a size that is drawn, for an answer of one."""
        cdef uint32_t n = max(<uint32_t>request.next(), <uint32_t>HEADER)
        self.wanted = self.missing = max(<uint32_t>response.next(), <uint32_t>1)
        self.asking = True
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


cdef class Pooled(Exchange):
    """A connection to an upstream, of a pool."""


cdef class Call(Ticket):
    """Something that is asked of an upstream."""


cdef class Caller(Impatient):
    """Whoever has calls made: is told what comes of each."""

    cdef void answered_call(self, Call call) noexcept:
        """It was answered."""

    cdef void failed_call(self, Call call, int number) noexcept:
        """It failed, with an errno."""


cdef class Upstream(Impatient):
    """Those of whom something is asked, and the connections to there.

    Calls take the addresses in turn, and of an address's connections one that is idle, the last one used; else a new one, of `pool` at a
    time; else one to another address; else they wait.

    Parameters
    ----------
    namespace : Namespace
        The caller's.
    addresses : list of str
        Destinations.
    port : int
    request, response : Distribution
        Bytes of requests (8 at least) and of answers.
    rng : numpy.random.Generator
    count : int
        Calls that each of a server's requests makes, one after the other.
    pool : int
        Connections at a time, 0 for as many as there are calls under way.
    per_connection : int
        Calls that a connection carries before it is closed (keep-alive), 0 for no end.
    timeout : float
        Seconds, a wait for a connection included, after which a call has failed, and its connection is reset; 0 for no end.
    retries : Retries, optional
        Of a call that failed.
    options
        Of the sockets.
    """

    def __init__(self, Namespace namespace, addresses, int port, request, response, rng, int count=1, int pool=0, int per_connection=0,
                 double timeout=0.0, Retries retries=None, **options):
        super().__init__(namespace, timeout)
        self.addresses = list(addresses)
        self.port = port
        self.count = count
        self.most = pool
        self.per_connection = per_connection
        self.retries = Retries() if retries is None else retries
        self.options = options
        self.request = Batch(request, rng)
        self.response = Batch(response, rng)
        self.connections = {}
        self.idle = [[] for _ in self.addresses]
        self.waiting = deque()
        self.pausing = {}
        self.tokens = DEADLINE
        self.errors = {}
        self.waits = Histogram()
        self.times = Histogram()

    def forget_times(self):
        """Waiting and response times from now on only; the counts go on."""
        self.waits = Histogram()
        self.times = Histogram()

    def counts(self):
        """What only goes up: answered, failed, retried, opened; seconds of connections in use, and of calls that waited for one."""
        self.account()
        return {"answered": self.answered, "failed": self.failed, "retried": self.retried, "opened": self.opened,
                "used_s": self.level_used.seconds, "waiting_s": self.level_waiting.seconds,
                **{f"error {name}": n for name, n in self.errors.items()}}

    cdef void account(self) noexcept:
        cdef double now = self.namespace.calendar.now
        level_set(&self.level_used, <double>(<int>len(self.connections) - self.n_idle), now)
        level_set(&self.level_waiting, <double>len(self.waiting), now)

    cdef void make(self, Call call) noexcept:
        """Ask; the caller is told what came of it."""
        call.called = self.namespace.calendar.now
        call.tried = 0
        self.attempt(call)

    cdef void attempt(self, Call call) noexcept:
        call.since = self.namespace.calendar.now
        call.carrier = None
        self.waiting.append(call)
        self.expect(call)
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

    cdef void start(self, Call call):
        cdef Pooled c = self.spare()
        cdef TcpSocket s
        self.waits.record(self.namespace.calendar.now - call.since)
        if c is not None:
            c.call = call
            call.carrier = c
            c.ask(self.request, self.response)
            return
        c = Pooled()
        c.address = self.turn
        self.turn = (self.turn + 1) % <int>len(self.addresses)
        c.left = self.per_connection if self.per_connection else ENDLESS
        try:
            s = c.socket = TcpSocket(self.namespace, app=self, **self.options)
            self.connections[s] = c
            c.call = call
            call.carrier = c
            s.connect(self.addresses[c.address], self.port)
            self.opened += 1
        except OSError as error:
            self.connections.pop(c.socket, None)
            self.fail(call, error.errno)

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
        c.ask(self.request, self.response)

    cdef void data(self, TcpSocket s) noexcept:
        cdef uint64_t n = s.read_count(0xFFFFFFFFU)
        cdef Pooled c = self.connections.get(s)
        cdef Call call
        if c is None or not c.asking or not c.hear(n):
            return
        call, c.call = c.call, None
        call.carrier = None
        call.serial += 1
        call.bytes = c.wanted
        self.answered += 1
        self.times.record(self.namespace.calendar.now - call.called)
        if c.left > 0:
            self.idle[c.address].append(c)
            self.n_idle += 1
        else:
            self.connections.pop(s)
            s.finish_sending()
        self.supply()
        self.caller.answered_call(call)

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
        if c.call is None:
            self.idle[c.address].remove(c)
            self.n_idle -= 1
        else:
            self.fail(c.call, number)
        self.supply()

    cdef void fire(self, uint64_t token) noexcept:
        if token == DEADLINE:
            self.look()
        else:
            self.attempt(self.pausing.pop(token))

    cdef void timed_out(self, Ticket t) noexcept:
        cdef Call call = <Call>t
        if call.carrier is None:
            self.waiting.remove(call)
        else:
            self.connections.pop(call.carrier.socket)
            call.carrier.socket.abort()
        self.fail(call, errno.ETIMEDOUT)
        self.supply()

    cdef void fail(self, Call call, int number) noexcept:
        cdef double pause = self.retries.pause(call.tried)
        call.serial += 1
        call.carrier = None
        if pause < 0:
            self.failed += 1
            count_error(self.errors, number)
            self.caller.failed_call(call, number)
            return
        call.tried += 1
        self.retried += 1
        if pause == 0:
            self.attempt(call)
            return
        self.tokens += 1
        self.pausing[self.tokens] = call
        self.namespace.calendar.at(self.namespace.calendar.now + pause, self, self.tokens)
