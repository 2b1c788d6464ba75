"""Which worker a frame belongs to, where several share a host's connections."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
import numpy

from natfast.arrays cimport longest, refuse_longest
from natfast.fastpath cimport tuple_words
from natfast.headers cimport (ETH_HLEN, IPPROTO_ICMP, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE, be16, icmp_is_error,
                              ip_dst, ip_ihl, ip_is_fragment, ip_src)
from natfast.siphash cimport siphash13_many
from natfast.tuples cimport Tuple, invert, parse_tuple

cdef enum:
    TOGETHER = 64               # frames whose owners are found together


def owners(const uint8_t[:, ::1] frames, const uint32_t[::1] lengths, int workers, bint from_outside, bint to_outside, uint64_t key):
    """Which of `workers` each frame belongs to: uint8 (n,).

    Frames of one connection, both ways, and ICMP errors about it agree: the hash is over the endpoint outside, which
    no translation changes (over both endpoints, in either order, where neither side is outside).
    """
    out = numpy.empty(frames.shape[0], numpy.uint8)
    cdef uint8_t[::1] o = out
    cdef Py_ssize_t i
    if lengths.shape[0] != frames.shape[0]:
        raise ValueError(f"lengths has {lengths.shape[0]} entries for {frames.shape[0]} frames")
    if frames.shape[0] == 0:
        return out
    if longest(&lengths[0], lengths.shape[0]) > frames.shape[1]:
        refuse_longest(numpy.asarray(lengths), frames.shape[1])
    with nogil:
        all_owners(&frames[0, 0], frames.shape[1], &lengths[0], frames.shape[0], workers, from_outside, to_outside, key, &o[0])
    return out


cdef void all_owners(const uint8_t* frames, size_t stride, const uint32_t* lengths, size_t n, uint32_t workers, bint from_outside,
                     bint to_outside, uint64_t key, uint8_t* out) noexcept nogil:
    """`owner_words` of all frames, hashed many at a time."""
    cdef uint64_t m0[TOGETHER]
    cdef uint64_t m1[TOGETHER]
    cdef uint64_t hash[TOGETHER]
    cdef size_t at = 0, i, count
    while at < n:
        count = n - at if n - at < TOGETHER else TOGETHER
        for i in range(count):
            owner_words(frames + (at + i) * stride, lengths[at + i], from_outside, to_outside, &m0[i], &m1[i])
        siphash13_many(m0, m1, hash, count, key, key)
        for i in range(count):
            out[at + i] = <uint8_t>((hash[i] >> 32) * workers >> 32)
        at += count


cdef inline void owner_words(const uint8_t* frame, uint32_t length, bint from_outside, bint to_outside, uint64_t* m0,
                             uint64_t* m1) noexcept nogil:
    """What the owner of a frame is hashed from: its outside endpoint, both where neither is outside, and its protocol."""
    cdef uint64_t words, ports
    tuple_words(frame, length, &words, &ports)
    if ports == 0:
        unusual_owner_words(frame, length, from_outside, to_outside, m0, m1)
        return
    m0[0] = endpoints((words & 0xFFFFFFFFU) << 16 | (ports & 0xFFFF), (words >> 32) << 16 | (ports >> 16 & 0xFFFF), from_outside, to_outside)
    m1[0] = ports >> 32 & 0xFF


cdef inline uint64_t endpoints(uint64_t source, uint64_t destination, bint from_outside, bint to_outside) noexcept nogil:
    if from_outside and not to_outside:
        return source
    if to_outside and not from_outside:
        return destination
    return source ^ destination


cdef void unusual_owner_words(const uint8_t* frame, uint32_t length, bint from_outside, bint to_outside, uint64_t* m0, uint64_t* m1) noexcept nogil:
    cdef const uint8_t* ip = frame + ETH_HLEN
    cdef uint32_t room = length - ETH_HLEN if length > ETH_HLEN else 0, off
    cdef Tuple t, sent
    m0[0] = 0
    m1[0] = 0
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
    m0[0] = endpoints(<uint64_t>t.h.src << 16 | t.h.sport, <uint64_t>t.h.dst << 16 | t.h.dport, from_outside, to_outside)
    m1[0] = t.proto
