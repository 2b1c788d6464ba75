"""Ethernet addresses."""
from libc.stdint cimport uint8_t, uint64_t
from natfast.headers cimport be16, be32


cdef inline uint64_t mac_key(const uint8_t* m) noexcept nogil:
    """A MAC as a number."""
    return (<uint64_t>be16(m) << 32) | be32(m + 2)
