"""Filters: which class of a classful qdisc a frame belongs to."""
from libc.stdint cimport uint16_t, uint32_t
from simcore.engine.frame cimport Frame

ctypedef struct Rule:
    int target                          # index of the class
    int protocol                        # -1: any
    int dscp                            # -1: any
    uint32_t mark
    uint32_t mark_mask                  # 0: any
    uint32_t src
    uint32_t src_mask
    uint32_t dst
    uint32_t dst_mask
    uint16_t sport[2]                   # from, to
    uint16_t dport[2]

cdef class Filters:
    cdef Rule* rules
    cdef int n
    cdef int classify(self, const Frame* f) noexcept
