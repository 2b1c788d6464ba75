"""Checksums of what an IP packet carries, as far as its frame is in memory; the rest is zero."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from natfast.checksum cimport fold, pseudo_sum, sum_bytes
from natfast.headers cimport ETH_HLEN, IPPROTO_ICMP, put16
from simcore.engine.frame cimport CHECKSUM_RIGHT, Frame


cdef inline void set_checksum(Frame* f, uint32_t l4, int at, int protocol) noexcept:
    """Fill in the checksum that stands `at` bytes after `l4`."""
    cdef uint64_t s
    put16(f.data + l4 + at, 0)
    s = sum_bytes(f.data + l4, f.have - l4)
    if protocol != IPPROTO_ICMP:
        s += pseudo_sum(f.data + ETH_HLEN, protocol, f.len - l4)
    put16(f.data + l4 + at, <uint16_t>~fold(s))
    f.checksum_ok = CHECKSUM_RIGHT
