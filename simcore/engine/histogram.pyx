import numpy as np

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

cdef enum:
    BITS = 7                            # buckets per power of two: 128
    LOWEST = 1023 - 40                  # exponent of the first bucket: 2^-40, about 1e-12
    SIZE = 72 << 7


cdef inline int64_t bucket_of(double value) noexcept nogil:
    """The leading bits of an IEEE double are a logarithmic scale with linear steps."""
    cdef uint64_t bits
    cdef int64_t i
    memcpy(&bits, &value, 8)
    i = <int64_t>(bits >> (52 - BITS)) - (<int64_t>LOWEST << BITS)
    return 0 if i < 0 else SIZE - 1 if i >= SIZE else i


cdef double lower_edge(int64_t i) noexcept nogil:
    cdef uint64_t bits = <uint64_t>(i + (<int64_t>LOWEST << BITS)) << (52 - BITS)
    cdef double value
    memcpy(&value, &bits, 8)
    return value


cdef class Histogram:
    """A histogram after HdrHistogram: 128 buckets per power of two, from 1e-12 to 4e9 of whatever unit.

    A quantile is off by 0.4 % at most; count, sum, least and most are exact. Zeros lie in the lowest bucket.
    It takes 72 KiB, whatever is recorded.
    """

    def __cinit__(self):
        self.least = float("inf")
        self.most = float("-inf")
        self.buckets = <uint64_t*>calloc(SIZE, sizeof(uint64_t))
        if self.buckets == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.buckets)

    cdef void record(self, double value) noexcept:
        self.count += 1
        self.total += value
        if value < self.least:
            self.least = value
        if value > self.most:
            self.most = value
        self.buckets[bucket_of(value)] += 1

    def add(self, double value):
        """Record one value.

        Raises
        ------
        ValueError
            If it is negative or not a number.
        """
        if not value >= 0:
            raise ValueError(f"a histogram takes numbers from 0 on, not {value}")
        self.record(value)

    @property
    def mean(self):
        """Exact mean, None before the first value."""
        return self.total / self.count if self.count else None

    def quantile(self, double q):
        """The value that a share `q` of all values does not exceed, None before the first value."""
        cdef int64_t i
        cdef uint64_t seen = 0
        cdef double wanted = q * self.count, value
        if not 0 <= q <= 1:
            raise ValueError(f"quantile {q} is not between 0 and 1")
        if self.count == 0:
            return None
        for i in range(SIZE):
            seen += self.buckets[i]
            if self.buckets[i] and seen >= wanted:
                value = 0.0 if i == 0 else (lower_edge(i) + lower_edge(i + 1)) / 2
                return min(max(value, self.least), self.most)
        return self.most

    def merge(self, Histogram other not None):
        """Add all that another histogram has seen."""
        cdef int64_t i
        for i in range(SIZE):
            self.buckets[i] += other.buckets[i]
        self.count += other.count
        self.total += other.total
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)

    def table(self):
        """The buckets in use: float64 array (n, 3) of lower edge, upper edge, count."""
        cdef int64_t i
        rows = [(0.0 if i == 0 else lower_edge(i), lower_edge(i + 1), self.buckets[i]) for i in range(SIZE) if self.buckets[i]]
        return np.array(rows, dtype=np.float64).reshape(-1, 3)

    def summary(self):
        """Count, mean, least, most and the usual quantiles, as JSON has it."""
        if self.count == 0:
            return {"count": 0}
        return {"count": self.count, "mean": self.mean, "min": self.least, "p50": self.quantile(0.5), "p90": self.quantile(0.9),
                "p99": self.quantile(0.99), "p999": self.quantile(0.999), "max": self.most}
