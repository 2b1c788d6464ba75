"""Memory asked for ahead of its use."""

cdef extern from "simd.h" nogil:
    void prefetch "natfast_prefetch"(const void* p)
