import struct
from collections import deque

from simcore.traffic.upstream cimport HEADER, Upstream, level_set


cdef class Incoming:
    """What has come of a connection's next request."""


cdef class Request:
    """One under way."""


cdef class Server(Caller):
    """Answers requests: each says how long it is and how long the answer is to be (eight bytes, then zeros).

    A request waits for a worker, which works on it, makes the calls that it takes, and answers. If a call fails, its connection is closed
    without an answer.

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
    calls : sequence of Upstream, or of sequences of them
        Made one after the other; those of a sequence side by side.
    connections : int
        Open at a time, 0 for any number: more wait to be accepted, `backlog` of them.
    options
        Of the listener and its sockets.
    """

    def __init__(self, Namespace namespace, int port, service=None, rng=None, int workers=0, bint asynchronous=False, calls=(),
                 int connections=0, **options):
        cdef Upstream upstream
        super().__init__(namespace)
        self.workers = workers
        self.asynchronous = asynchronous
        self.service = None if service is None else Batch(service, rng)
        self.calls = tuple([(stage,) if isinstance(stage, Upstream) else tuple(stage) for stage in calls])
        for stage in self.calls:
            for upstream in stage:
                upstream.caller = self
        self.heard = {}
        self.delayed = {}
        self.queue = deque()
        self.waits = Histogram()
        self.times = Histogram()
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
        cdef Incoming i = Incoming()
        i.head = b""
        self.heard[s] = i
        self.account()

    cdef void data(self, TcpSocket s) noexcept:
        cdef Incoming i = self.heard.get(s)
        cdef uint32_t length
        try:
            if i is None:                       # closed on this side
                s.read_count(0xFFFFFFFFU)
                return
            while True:
                if i.missing == 0:
                    i.head += s.read(HEADER - <uint32_t>len(i.head))
                    if len(i.head) < HEADER:
                        break
                    length, i.answer = struct.unpack("!II", i.head)
                    i.missing = length - HEADER if length > HEADER else 0
                i.missing -= <uint32_t>s.read_count(i.missing)
                if i.missing:
                    break
                i.head = b""
                self.come(s, i.answer)
            self.dispatch()
        except Exception as error:
            self.namespace.calendar.fail(error)

    cdef void come(self, TcpSocket s, uint32_t answer) noexcept:
        """A request is all here."""
        cdef Request r = Request()
        r.socket = s
        r.answer = answer
        r.arrived = self.namespace.calendar.now
        self.requests += 1
        self.queue.append(r)

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
        """Make the request's next calls, or answer it."""
        cdef Upstream upstream
        cdef Call call
        cdef tuple stage
        if r.stage < len(self.calls):
            stage = self.calls[r.stage]
            r.stage += 1
            r.missing = <int>len(stage)
            for upstream in stage:
                if r.failed:                    # one of these has, at once
                    break
                call = Call()
                call.request = r
                call.upstream = upstream
                call.left = upstream.count - 1
                upstream.make(call)
            return
        self.answered += 1
        self.times.record(self.namespace.calendar.now - r.arrived)
        r.socket.write(r.answer)
        self.free(r)
        self.dispatch()

    cdef void answered_call(self, Call call) noexcept:
        cdef Request r = <Request>call.request
        if r.failed:
            return                              # too late: another has failed
        if call.left:
            call.left -= 1
            call.upstream.make(call)
            return
        r.missing -= 1
        if r.missing == 0:
            self.proceed(r)

    cdef void failed_call(self, Call call, int number) noexcept:
        """Whoever asked gets no answer; what else is asked for him is not made undone."""
        cdef Request r = <Request>call.request
        if r.failed:
            return
        r.failed = True
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
