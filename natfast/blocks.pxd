"""Enhanced packet blocks on their way to a pcapng file."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef class BlockBuffer:
    cdef object writer
    cdef uint8_t* data
    cdef size_t size
    cdef object error
    cdef void add(self, uint32_t interface, uint64_t ns, const uint8_t* frame, uint32_t have, uint32_t kept, uint32_t length) noexcept
