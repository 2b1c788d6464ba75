"""A bounded log of packets: what the LOG target and a full table have to say."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from natfast.packet cimport Packet

cdef enum:
    LOG_KEPT = 1024             # records; older ones are overwritten
    LOG_BYTES = 128             # of each packet

cdef enum:                      # What
    LOG_RULE = 0
    LOG_TABLE_FULL = 1

ctypedef struct Record:
    uint32_t now                # ms
    uint32_t rule               # number of the LOG rule
    uint32_t length             # of the packet
    uint32_t mark
    uint16_t iif
    uint16_t oif
    uint16_t physin
    uint16_t physout
    uint8_t what
    uint8_t hook
    uint8_t kept
    uint8_t mac                 # the link-layer header is known
    uint8_t data[14 + 128]

ctypedef struct Log:
    Record* records             # allocated with the first one
    uint64_t count              # all that were ever logged

cdef void log_packet(Log* log, int what, uint32_t rule, uint32_t now, int hook, const Packet* k) noexcept nogil
cdef void log_free(Log* log) noexcept nogil
cdef list log_lines(const Log* log, list names, list options)
