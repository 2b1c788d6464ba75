"""Congestion control: how large the window is, and how it changes."""
from libc.stdint cimport uint32_t, uint64_t
from simcore.engine.flag cimport Flag
from simcore.transport.flight cimport Sample

ctypedef struct Window:
    double cwnd                     # bytes
    double ssthresh                 # bytes
    double pacing                   # bytes/s, 0: not paced
    double srtt                     # s
    double min_rtt                  # s, -1 before the first sample
    double now                      # s
    uint32_t mss                    # bytes of payload in a full segment
    uint32_t una
    uint32_t nxt
    uint32_t pipe                   # bytes in the network
    uint64_t delivered              # bytes, ever
    Flag limited                    # cwnd is what holds the sender back
    Flag recovering
    Flag idling                     # set by the algorithm: it holds back on purpose, rates measured now say little

cdef class CongestionControl:
    cdef Flag models                # sets cwnd itself on every ACK (BBR); else cwnd follows `grow`, and PRR in recovery
    cdef Flag accurate_ecn          # reacts to the share of marks, and sends ECT on everything (DCTCP)
    cdef void start(self, Window* w) noexcept
    cdef double reduce(self, Window* w, bint ecn) noexcept
    cdef void grow(self, Window* w, const Sample* s) noexcept
    cdef void acked(self, Window* w, const Sample* s) noexcept
    cdef void timeout(self, Window* w) noexcept
    cdef void undo(self, Window* w) noexcept
    cdef void resume(self, double now, double idle) noexcept

cdef CongestionControl make(str name, dict settings)
