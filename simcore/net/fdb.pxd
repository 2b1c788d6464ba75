"""A bridge's forwarding database: which MAC is behind which port."""
cimport cython
from libc.stdint cimport uint64_t
from simcore.engine.map cimport U64Map

@cython.final
cdef class Fdb:
    cdef U64Map entries                 # MAC -> microseconds when it was seen, port, static
    cdef void learn(self, uint64_t mac, int port, double now) noexcept
    cdef void add(self, uint64_t mac, int port)
    cdef int port_of(self, uint64_t mac, double now) noexcept
