"""Netfilter: one namespace's rules, conntrack and NAT behind the five hooks."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from natfast.filter cimport Compiled, Host, Program
from natfast.packet cimport Packet
from natfast.state cimport Conntrack
from natfast.tuples cimport Tuple

ctypedef struct Ahead:
    # what a batch finds out about a frame before its turn
    Tuple key
    uint32_t hint
    uint8_t known               # the tuple was read

cdef class Skb:
    cdef bytearray data
    cdef Packet p
    cdef Netfilter netfilter
    cdef void release(self) noexcept

cdef class Netfilter:
    cdef Conntrack c
    cdef Host host
    cdef Program* program
    cdef Compiled compiled
    cdef dict numbers
    cdef list names
    cdef uint16_t* mtus         # by interface number
    cdef int skb_hook(self, int hook, Skb skb, str iif, str oif) except -1
    cdef object defrag
    cdef list whole
    cdef int run(self, int hook, Packet* p) noexcept nogil
    cdef void put(self, Packet* p) noexcept nogil
    cdef void clock(self, double now) noexcept nogil
    cdef int number(self, str name) except -1
    cdef int established(self, Packet* p, int oif) noexcept nogil
    cdef int one(self, uint8_t* frame, uint32_t length, uint32_t room, uint32_t* out_length, int iif, int oif, const Ahead* ahead) noexcept nogil
    cdef void look_ahead(self, const uint8_t* frames, size_t stride, const uint32_t* lengths, uint32_t count, Ahead* ahead) noexcept nogil
