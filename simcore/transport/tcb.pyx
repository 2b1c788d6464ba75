"""The transmission control block: what a TCP connection knows of itself (RFC 9293 3.3.1), and its timers.

`sender` acts on the half that sends, `tcp` on the connection's state and the half that receives.
"""
from libc.stdint cimport uint32_t, uint64_t
from simcore.engine.timer cimport timer_arm, timer_init
from simcore.transport.flight cimport flight_free, flight_init

STATES = ("CLOSED", "LISTEN", "SYN_SENT", "SYN_RCVD", "ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT", "CLOSING",
          "LAST_ACK", "TIME_WAIT")
RECOVERY_STATES = ("Open", "Disorder", "CWR", "Recovery", "Loss")


cdef class Waiters:
    pass


cdef class Tcb(Endpoint):
    """What `Sender` and `TcpSocket` share: all fields, what is told from them, timers, and what the one asks of the other."""

    def __cinit__(self):
        cdef int i
        for i in range(TIMERS):
            timer_init(&self.timer[i])
        flight_init(&self.flight)
        self.invalid_at = -1
        self.held_by = HELD_IDLE

    def __dealloc__(self):
        flight_free(&self.flight)

    cdef bint fin_acked(self) noexcept:
        return self.fin_sent and self.snd_una == self.snd_nxt

    cdef bint too_often(self, uint32_t n) noexcept:
        """Answers to what carries no data are limited to two a second (Linux's tcp_invalid_ratelimit)."""
        cdef double now = self.ns.calendar.now
        if n:
            return False
        if self.invalid_at >= 0 and now - self.invalid_at < INVALID_RATELIMIT:
            return True
        self.invalid_at = now
        return False

    cdef void arm(self, int timer, double delay) noexcept:
        """(Re)start a timer."""
        if timer_arm(&self.timer[timer], self.ns.calendar.now + delay):
            self.wait(timer)

    cdef void wait(self, int timer) noexcept:
        if self.events == 0 and self.place == 0:
            self.ns.sockets.waiting.add(self)       # the calendar only borrows its handlers
        self.events += 1
        self.ns.calendar.at(self.timer[timer].event, self, timer)

    # --- what a connection does besides ------------------------------------------------------------

    cdef void emit(self, uint32_t flags, uint32_t seq, uint64_t at, uint32_t n) noexcept:
        """One segment with `n` bytes of the stream from position `at` on."""

    cdef void die(self, int number) noexcept:
        """The connection failed: everyone who waits is told."""

    cdef void fin_is_acked(self) noexcept:
        """The other end knows that we have closed."""
