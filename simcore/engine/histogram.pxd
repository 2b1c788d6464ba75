"""Distributions of positive numbers in constant memory, with a bounded relative error."""
from libc.stdint cimport uint64_t

cdef class Histogram:
    cdef readonly uint64_t count
    cdef readonly double total
    cdef readonly double least
    cdef readonly double most
    cdef uint64_t* buckets
    cdef void record(self, double value) noexcept
