"""Which worker a frame belongs to, where several share a host's connections.

Frames of one connection, both ways, and ICMP errors about it agree: what is hashed is the endpoint outside, which no translation
changes (both endpoints, in either order, where neither side is outside).
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from natfast.fastpath cimport NATFAST_BYTES, NATFAST_MANY, NATFAST_NONE, tuple_words, tuples_many
from natfast.headers cimport (ETH_HLEN, IPPROTO_ICMP, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE, be16, icmp_is_error,
                              ip_dst, ip_ihl, ip_is_fragment, ip_src)
from natfast.table cimport prefetch
from natfast.tuples cimport Tuple, first_word, invert, parse_tuple, ports_word

cdef extern from "owners_many.h" nogil:
    void owners_many "natfast_owners_many"(uint64_t* m0, uint64_t* m1, uint8_t* out, size_t n, uint64_t source,
                                           uint64_t destination, uint64_t key, uint32_t workers)

cdef enum:
    TOGETHER = 64               # frames whose owners are found together


# What an owner is found by.
ctypedef struct Ownership:
    uint64_t key                # secret: nobody shall choose whom to keep busy
    uint32_t workers
    uint64_t source             # all ones if that endpoint counts, else 0
    uint64_t destination
    int unit                    # vector unit that frames are read with, NATFAST_NONE if rows are too short for it


cdef inline void set_ways(Ownership* o, bint from_outside, bint to_outside) noexcept nogil:
    """Which endpoint counts of frames that come in, or leave, by an interface that leads to the world."""
    o.source = 0 if to_outside and not from_outside else ~<uint64_t>0
    o.destination = 0 if from_outside and not to_outside else ~<uint64_t>0


cdef inline void find_owners(const Ownership* o, uint8_t* frames, size_t stride, const uint32_t* lengths, size_t n,
                             uint8_t* out) noexcept nogil:
    """The owners of `n` frames, hashed many at a time."""
    cdef uint64_t m0[TOGETHER]
    cdef uint64_t m1[TOGETHER]
    cdef uint8_t* ip[NATFAST_MANY]
    cdef size_t at = 0, i, k, count
    cdef bint plain
    while at < n:
        count = n - at if n - at < TOGETHER else TOGETHER
        i = 0
        while i < count:
            plain = False
            if o.unit != NATFAST_NONE and count - i >= NATFAST_MANY:
                for k in range(NATFAST_MANY):
                    ip[k] = frames + (at + i + k) * stride + ETH_HLEN
                    prefetch(ip[k] + 4 * NATFAST_MANY * stride)
                plain = tuples_many(ip, lengths + at + i, m0 + i, m1 + i, NULL, o.unit) == (1 << NATFAST_MANY) - 1
            if not plain:
                for k in range(i, min(i + NATFAST_MANY, count)):
                    owner_words(frames + (at + k) * stride, lengths[at + k], &m0[k], &m1[k])
            i += NATFAST_MANY
        owners_many(m0, m1, out + at, count, o.source, o.destination, o.key, o.workers)
        at += count


cdef inline void owner_words(const uint8_t* frame, uint32_t length, uint64_t* m0, uint64_t* m1) noexcept nogil:
    """The words of the tuple that a frame's owner is found by."""
    cdef const uint8_t* ip = frame + ETH_HLEN
    cdef uint32_t room = length - ETH_HLEN if length > ETH_HLEN else 0, off
    cdef Tuple t, sent
    tuple_words(frame, length, m0, m1)
    if m1[0]:
        return
    m0[0] = 0
    if room < 20 or be16(frame + 12) != 0x0800:
        return
    if ip[9] == IPPROTO_ICMP and not ip_is_fragment(ip) and room >= ip_ihl(ip) + 28 and icmp_is_error(ip[ip_ihl(ip)]):
        off = ip_ihl(ip) + 8                            # it belongs to whom the packet it quotes belongs to, which went the other way
        if not parse_tuple(ip + off, room - off, &t, &off) or not invert(&t, &sent):
            return
        t = sent
    elif ip_is_fragment(ip) or not parse_tuple(ip, room, &t, &off):
        # pieces of one datagram stay together, and where its ports are unknown so does all between two hosts
        t.h.src = ip_src(ip)
        t.h.dst = ip_dst(ip)
        t.h.sport = t.h.dport = 0
        t.proto = ip[9]
    if t.proto != IPPROTO_TCP and t.proto != IPPROTO_UDP and t.proto != IPPROTO_SCTP and t.proto != IPPROTO_UDPLITE:
        t.h.sport = t.h.dport = 0
    m0[0] = first_word(&t.h)
    m1[0] = <uint64_t>t.proto << 32 | ports_word(&t.h)
