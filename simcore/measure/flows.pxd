"""Flow records: what was sent, what arrived, how late."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from simcore.engine.map cimport U64Map
from simcore.net.processor cimport FlowProbe

ctypedef struct Tuple5:
    uint32_t src
    uint32_t dst
    uint16_t sport
    uint16_t dport
    uint32_t protocol

ctypedef struct Record:
    Tuple5 sent_as                  # as its sender wrote it
    Tuple5 seen_as                  # as its receiver saw it: NAT may lie between
    uint64_t packets
    uint64_t bytes
    uint64_t delivered_packets
    uint64_t delivered_bytes
    double first
    double last
    double delay_sum
    double delay_min
    double delay_max
    double jitter
    double transit

cdef class FlowTable(FlowProbe):
    cdef U64Map index
    cdef Record* record
    cdef uint32_t n
    cdef uint32_t room
    cdef uint32_t find(self, const Tuple5* t) noexcept
