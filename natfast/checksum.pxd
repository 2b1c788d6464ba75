"""The Internet checksum (RFC 1071) and its incremental update (RFC 1624), as Linux computes them.

Sums are plain 32/64-bit integers over host-order 16-bit words; one's complement arithmetic does not
mind the byte order. Which of the two zeros (0x0000, 0xffff) comes out is part of the behaviour.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
from natfast.headers cimport be16, ntohs, put16
from natfast.wide cimport add1, fold1, last_bytes, load32, load64, sums_to_ffff


cdef extern from "dispatch.h" nogil:
    uint64_t natfast_sum_words(const uint8_t* p, size_t n)


cdef inline uint16_t fold(uint64_t s) noexcept nogil:
    """One's complement sum folded to 16 bits; 0 only if every addend was 0."""
    return <uint16_t>fold1(s)


cdef inline uint64_t sum_span(const uint8_t* p, uint32_t n) noexcept nogil:
    """Sum of `n` >= 8 bytes as the machine's own words, in 64 bits whose carry has come round; the odd last byte is padded."""
    cdef uint64_t s = 0
    cdef uint32_t words
    if n >= 128:
        words = (n >> 3) << 1
        s = natfast_sum_words(p, words)
        p += 4 * <size_t>words
        n &= 7
    else:
        while True:
            s = add1(s, load64(p))
            p += 8
            n -= 8
            if n < 8:
                break
    return add1(s, last_bytes(p + n, n))


cdef inline uint64_t sum_native(const uint8_t* p, uint32_t n) noexcept nogil:
    """Sum of `n` bytes as the machine's own words, in some 34 bits; the odd last byte is padded with zero.

    Folded, it is the sum of big-endian words with its two bytes swapped (RFC 1071 section 2 B).
    """
    cdef uint64_t s = 0
    cdef uint32_t w
    cdef uint16_t h
    if n >= 8:
        s = sum_span(p, n)
        return (s & 0xFFFFFFFFU) + (s >> 32)
    if n & 4:
        memcpy(&w, p, 4)
        s += w
        p += 4
    if n & 2:
        memcpy(&h, p, 2)
        s += h
        p += 2
    if n & 1:
        h = 0
        memcpy(&h, p, 1)
        s += h
    return s


cdef inline uint64_t sum_bytes(const uint8_t* p, uint32_t n) noexcept nogil:
    """Sum of `n` bytes as big-endian words, folded; the odd last byte is padded with zero."""
    return ntohs(fold(sum_native(p, n)))


cdef inline bint transport_ok(const uint8_t* ip, uint32_t off, uint32_t have, uint32_t n, uint32_t protocol) noexcept nogil:
    """Does the TCP or UDP checksum hold over the `n` bytes at `off`, of which `have` are in memory and the rest zero?"""
    cdef uint32_t w[2]
    memcpy(w, ip + 12, 8)
    return fold(sum_native(ip + off, have) + w[0] + w[1] + ntohs(<uint16_t>protocol) + ntohs(<uint16_t>n)) == 0xFFFF


cdef inline uint16_t replace4(uint16_t check, uint32_t old, uint32_t new) noexcept nogil:
    """RFC 1624 eq. 3, HC' = ~(~HC + ~m + m'), for a 32-bit field.

    Linux sums in 32 bits with the complement of the zero-extended checksum, which adds 0xffff: the
    result is therefore never 0xffff.
    """
    return <uint16_t>~fold(<uint64_t>(~<uint32_t>check) + <uint64_t>(~old) + new)


cdef inline uint16_t replace2(uint16_t check, uint32_t old, uint32_t new) noexcept nogil:
    """A 16-bit field; unlike `replace4` it may give 0xffff, as csum_replace2 does."""
    cdef uint32_t s = (<uint32_t>~check & 0xFFFF) + (~old & 0xFFFF) + new
    s = (s & 0xFFFF) + (s >> 16)
    return <uint16_t>~((s & 0xFFFF) + (s >> 16))


cdef inline uint16_t replace6(uint16_t check, uint32_t old, uint32_t new, uint32_t old_port, uint32_t new_port) noexcept nogil:
    """An address and a port at once: what two `replace4` give, as the sum is never folded to 0 in between."""
    return <uint16_t>~fold(<uint64_t>(~<uint32_t>check) + <uint64_t>(~old) + new + <uint64_t>(~old_port) + new_port)


cdef inline uint16_t canonical(uint16_t check) noexcept nogil:
    """Of the two zeros the one that Linux's header rewriting leaves."""
    return 0 if check == 0xFFFF else check


cdef inline void replace4_at(uint8_t* check, uint32_t old, uint32_t new) noexcept nogil:
    put16(check, replace4(be16(check), old, new))


cdef inline uint16_t decrease_ttl(uint16_t check) noexcept nogil:
    """Checksum after TTL - 1: the high byte of one word falls by one (RFC 1141, with its 0xffff -> 0)."""
    cdef uint32_t s = <uint32_t>check + 0x0100
    s = (s & 0xFFFF) + (s >> 16)
    return 0 if s == 0xFFFF else <uint16_t>s


cdef inline void ip_decrease_ttl(uint8_t* ip) noexcept nogil:
    """A router's part: one hop fewer to go, and the header's checksum follows."""
    ip[8] -= 1
    put16(ip + 10, decrease_ttl(be16(ip + 10)))


cdef inline bint ip_checksum_ok(const uint8_t* ip, uint32_t ihl) noexcept nogil:
    if ihl != 20:
        return fold(sum_bytes(ip, ihl)) == 0xFFFF
    return sums_to_ffff(add1(add1(load64(ip), load64(ip + 8)), load32(ip + 16)))


cdef inline uint64_t pseudo_sum(const uint8_t* ip, uint32_t protocol, uint32_t length) noexcept nogil:
    cdef uint64_t addresses
    memcpy(&addresses, ip + 12, 8)
    return <uint64_t>ntohs(fold(addresses)) + protocol + length


cdef inline void ip_checksum(uint8_t* ip) noexcept nogil:
    """Compute and store the header checksum."""
    ip[10] = 0
    ip[11] = 0
    put16(ip + 10, <uint16_t>~fold(sum_bytes(ip, (ip[0] & 15) * 4)))
