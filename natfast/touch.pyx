"""What memory alone costs: the cache lines a packet needs, touched in random order, and nothing else."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap
import time

cimport numpy as np
import numpy

from natfast.table cimport Bucket, Entry, prefetch

np.import_array()

cdef extern from "<sys/mman.h>" nogil:
    int madvise(void* addr, size_t length, int advice)
    enum: MADV_HUGEPAGE


cdef uint64_t touch(uint8_t* entries, uint8_t* buckets, uint8_t* frames, const uint32_t* entry, const uint32_t* bucket, size_t n) noexcept nogil:
    cdef size_t i, ahead
    cdef uint64_t seen = 0
    for i in range(n):
        ahead = i + 48 if i + 48 < n else n - 1
        prefetch(buckets + <size_t>bucket[ahead] * sizeof(Bucket))
        ahead = i + 24 if i + 24 < n else n - 1
        prefetch(entries + <size_t>entry[ahead] * sizeof(Entry))
        prefetch(entries + <size_t>entry[ahead] * sizeof(Entry) + 64)
        seen += buckets[<size_t>bucket[i] * sizeof(Bucket)]
        entries[<size_t>entry[i] * sizeof(Entry)] += 1
        entries[<size_t>entry[i] * sizeof(Entry) + 64] += 1
        frames[i * 64] += 1
    return seen


def touch_ns(uint32_t flows, size_t packets=1 << 18, seed=1):
    """ns per packet of reading a random bucket, and writing both lines of a random entry and one of the next frame.

    A lower bound for a NAT with this table on this machine: report costs as a multiple of it.
    """
    cdef size_t n_buckets = max(<size_t>flows * 2 // 5, 1), size = <size_t>flows * sizeof(Entry) + n_buckets * sizeof(Bucket) + packets * 64
    cdef uint8_t* memory = <uint8_t*>mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if memory == <uint8_t*>MAP_FAILED:
        raise MemoryError(f"{size} bytes")
    madvise(memory, size, MADV_HUGEPAGE)
    rng = numpy.random.default_rng(seed)
    entries = rng.integers(0, flows, packets, dtype=numpy.uint32)
    hashes = rng.integers(0, n_buckets, packets, dtype=numpy.uint32)
    cdef const uint32_t* entry = <const uint32_t*>np.PyArray_DATA(entries)
    cdef const uint32_t* bucket = <const uint32_t*>np.PyArray_DATA(hashes)
    cdef uint8_t* buckets = memory + <size_t>flows * sizeof(Entry)
    best = float("inf")
    for _ in range(8):                                  # the first makes the pages
        began = time.perf_counter()
        with nogil:
            touch(memory, buckets, buckets + n_buckets * sizeof(Bucket), entry, bucket, packets)
        best = min(best, time.perf_counter() - began)
    munmap(memory, size)
    return best * 1e9 / packets
