"""What rules remember by address: hashlimit's token buckets, connlimit's connections."""
from libc.stdint cimport uint32_t
from natfast.packet cimport Packet
from natfast.state cimport Conntrack
from natfast.tuples cimport Half, Tuple

cdef enum:                      # what hashlimit tells packets apart by (--hashlimit-mode)
    BY_DSTIP = 1
    BY_DSTPORT = 2
    BY_SRCIP = 4
    BY_SRCPORT = 8

ctypedef struct TokenBucket:
    Half key
    bint used
    double tokens
    uint32_t seen               # ms: when a packet last came

# The buckets of one --hashlimit-name.
ctypedef struct Hashlimit:
    TokenBucket* slot           # open addressing
    uint32_t size               # a power of two
    uint32_t used
    uint32_t most               # so many buckets at once; 0: as many as it takes
    uint32_t mode
    uint32_t src_mask
    uint32_t dst_mask
    uint32_t expire             # ms without a packet, after which a bucket is as new
    uint32_t interval           # ms between two looks for such, where there is no room for one more
    uint32_t swept              # ms: the last
    double rate                 # tokens a second
    double burst

ctypedef struct Counted:
    Tuple original
    uint32_t entry              # where it was last found, 0 if nowhere yet

ctypedef struct Connections:
    uint32_t address
    bint used
    uint32_t n
    uint32_t room
    Counted* list

# The connections of one connlimit match, by address.
ctypedef struct Connlimit:
    Connections* slot           # open addressing
    uint32_t size
    uint32_t used

cdef int hashlimit_take(Hashlimit* h, Conntrack* c, const Packet* k) noexcept nogil
cdef uint32_t connlimit_count(Connlimit* l, Conntrack* c, const Packet* k, uint32_t address) noexcept nogil
cdef void hashlimit_free(Hashlimit* h) noexcept nogil
cdef void connlimit_free(Connlimit* l) noexcept nogil
