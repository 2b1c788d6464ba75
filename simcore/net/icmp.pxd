"""ICMP (RFC 792): what a host says of itself, and how often (RFC 1122 3.2.2, RFC 1812 4.3)."""
cimport cython
from libc.stdint cimport uint8_t, uint32_t
from simcore.engine.frame cimport Frame

cdef enum:
    ICMP_QUOTED = 548                   # bytes of the packet that an error is about, less its own IP options

@cython.final
cdef class IcmpLimit:
    cdef double interval                # s; 0: no limit
    cdef dict tokens                    # destination -> (tokens, when there were so many)
    cdef bint allows(self, int kind, int code, uint32_t dst, double now) noexcept

@cython.final
cdef class RedirectLimit:
    cdef dict told                      # source -> (how often, when last)
    cdef bint allows(self, uint32_t src, double now) noexcept

cdef bint icmp_is_answered(const Frame* f) noexcept nogil
cdef void icmp_emit_error(Frame* e, int kind, int code, uint32_t info, const uint8_t* ip, uint32_t have) noexcept
cdef void icmp_emit_reply(Frame* r, const uint8_t* request, uint32_t have, uint32_t milliseconds) noexcept
