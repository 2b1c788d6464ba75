"""IPv4 options (RFC 791 3.1): what a host reads, fills in, and gives back in its answers."""
from libc.stdint cimport uint8_t, uint32_t
from natfast.filter cimport Host

# What was found in a header; offsets count from the start of the IP header, 0 means not there.
ctypedef struct Options:
    uint32_t size               # bytes of options, 0 if the header has none
    uint32_t record_route
    uint32_t timestamp
    uint32_t source_route
    uint32_t cipso
    bint rr_address             # our address is to be recorded on the way out
    bint ts_address
    bint ts_time
    bint changed                # the header checksum is to be computed anew

# Options of an answer, ready to be put behind its header.
ctypedef struct Echo:
    uint32_t size               # a multiple of 4
    uint8_t data[40]

cdef int options_parse(uint8_t* ip, Options* o, const Host* host, uint32_t address, uint32_t ms) noexcept nogil
cdef void options_forward(uint8_t* ip, Options* o, uint32_t address) noexcept nogil
cdef bint options_echo(const uint8_t* ip, const Options* o, const Host* host, uint32_t source, uint32_t ms, Echo* out) noexcept nogil
