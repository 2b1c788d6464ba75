"""Frames in flight: C structs from a pool.

A frame's bytes are `data[0:len]`, of which `data[0:have]` are in memory; all after them are zero. A
bulk sender's payload therefore costs nothing, yet every checksum over it is known.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    FRAME_ROOM = 128            # bytes kept in the frame itself; more is allocated

cdef enum:                      # where in a frame's bytes
    IP = 14                     # an IP header is, behind Ethernet's,
    L4 = 34                     # and the transport's, behind one of IP without options

cdef enum:                      # packet type, as Linux's PACKET_*
    PACKET_HOST = 0
    PACKET_BROADCAST = 1
    PACKET_MULTICAST = 2
    PACKET_OTHERHOST = 3

cdef enum:                      # Frame.checksum_ok
    CHECKSUM_RIGHT = 1          # made by a simulated sender and untouched since
    CHECKSUM_PARTIAL = 2        # the same, but for the device to fill in: before, Linux's field holds the pseudo header's sum alone

ctypedef struct Frame:
    uint8_t* data
    uint32_t len
    uint32_t have
    double born                 # when its sender made it
    double queued_at            # when the link at hand took it
    uint64_t seq                # its place among the events of one time, from the link at hand
    uint64_t id                 # follows the frame through every hop
    Frame* next
    void* pieces                # owned tuple of int: the fragments a datagram came in, or NULL
    uint32_t flow               # measurement's key, 0 if none
    uint32_t mark               # skb->mark: a socket's SO_MARK or a rule's MARK; never on the wire
    uint16_t frag_max           # largest fragment it came in, 0 if whole
    uint8_t packet_type
    uint8_t checksum_ok         # 0: the sums may be wrong
    uint8_t room[128]

ctypedef struct FrameQueue:
    Frame* head
    Frame* tail
    uint32_t packets
    uint64_t bytes

cdef inline bint frame_need(Frame* f, uint32_t have) noexcept:
    """See to it that `have` bytes are in memory (zeros come out); False if the frame is shorter."""
    return have <= f.have or frame_extend(f, have)

cdef inline void fq_push(FrameQueue* q, Frame* f) noexcept nogil:
    f.next = NULL
    if q.tail == NULL:
        q.head = f
    else:
        q.tail.next = f
    q.tail = f
    q.packets += 1
    q.bytes += f.len

cdef inline Frame* fq_pop(FrameQueue* q) noexcept nogil:
    cdef Frame* f = q.head
    if f == NULL:
        return NULL
    q.head = f.next
    if q.head == NULL:
        q.tail = NULL
    f.next = NULL
    q.packets -= 1
    q.bytes -= f.len
    return f

cdef Frame* frame_new(uint32_t have, uint32_t length) noexcept
cdef Frame* frame_copy(const Frame* f) noexcept
cdef Frame* frame_from_bytes(const uint8_t* p, uint32_t n) noexcept
cdef Frame* frame_of(data) except NULL
cdef bint frame_extend(Frame* f, uint32_t have) noexcept
cdef void frame_free(Frame* f) noexcept
cdef object frame_bytes(const Frame* f)
cdef void fq_clear(FrameQueue* q) noexcept
cdef Frame* fq_pop_tail(FrameQueue* q) noexcept nogil
