"""What a wire does to the frames on it, under netem's names."""
from simcore.engine.draws cimport Draws
from simcore.engine.frame cimport Frame

cdef enum:                          # delay distributions
    UNIFORM = 0
    NORMAL = 1
    PARETO = 2
    PARETONORMAL = 3

cdef class Netem:
    cdef readonly double jitter             # s
    cdef readonly double jitter_correlation
    cdef readonly int distribution
    cdef readonly double loss               # probability
    cdef readonly double loss_correlation
    cdef readonly bint gilbert
    cdef readonly double p                  # Gilbert-Elliott: good -> bad
    cdef readonly double r                  # bad -> good
    cdef readonly double loss_bad           # netem's 1-h
    cdef readonly double loss_good          # netem's 1-k
    cdef readonly double duplicate
    cdef readonly double corrupt
    cdef readonly double reorder
    cdef readonly int gap
    cdef readonly bint keeps_order          # no frame ever overtakes another
    cdef Draws draws
    cdef bint bad
    cdef double last_loss
    cdef double last_jitter
    cdef int since
    cdef double correlated(self, double correlation, double* last) noexcept
    cdef bint loses(self) noexcept
    cdef double delay(self, double latency) noexcept
    cdef void flip(self, Frame* f) noexcept
