"""The half of a TCP connection that sends."""
from libc.stdint cimport uint32_t, uint64_t
from simcore.transport.flight cimport Sample
from simcore.transport.options cimport Options
from simcore.transport.tcb cimport Tcb

cdef class Sender(Tcb):
    cdef void push(self) noexcept
    cdef void send_new(self, uint32_t flags, uint64_t at, uint32_t n) noexcept
    cdef void resend(self, uint32_t i) noexcept
    cdef bytes stream(self, uint64_t at, uint32_t n)
    cdef void release(self, uint32_t acked) noexcept
    cdef void spend(self, uint32_t n) noexcept
    cdef double burst_size(self) noexcept
    cdef void validate(self, bint limited) noexcept
    cdef void remember(self) noexcept
    cdef bint cwnd_is_used(self) noexcept
    cdef void restart_slowly(self, double now) noexcept
    cdef void set_probe(self) noexcept
    cdef void probe(self) noexcept
    cdef void timeout(self) noexcept
    cdef void shrink_mss(self) noexcept
    cdef void enter(self, int ca) noexcept
    cdef void undo(self) noexcept
    cdef void leave(self) noexcept
    cdef void detect(self, Sample* r) noexcept
    cdef void sample_rtt(self, double rtt) noexcept
    cdef void acknowledge(self, uint32_t ack, uint32_t wnd, uint32_t seq, uint32_t n, uint32_t flags, const Options* p) noexcept
    cdef void heed_dsack(self, uint32_t start, uint32_t end) noexcept
    cdef void react(self, Sample* r, bint moved, bint dsack) noexcept
    cdef void proportional(self, const Sample* r, bint lost) noexcept
    cdef void newreno(self, Sample* r, bint moved) noexcept
