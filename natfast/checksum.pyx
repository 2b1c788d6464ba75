"""Checksum functions for Python: what the packet path uses, callable one by one for tests and tools."""
from natfast.checksum cimport decrease_ttl, fold, replace4, sum_bytes


def internet_checksum(const unsigned char[::1] data not None, unsigned int initial=0):
    """RFC 1071 checksum of `data`.

    Parameters
    ----------
    data : bytes-like
        Octets; an odd last one is padded with zero.
    initial : int
        Sum of 16-bit words to start from, e.g. the pseudo header's.

    Returns
    -------
    int
        The 16-bit checksum, as it is stored in a header.
    """
    cdef unsigned int n = <unsigned int>data.shape[0]
    if n == 0:
        return <unsigned short>~fold(initial)
    return <unsigned short>~fold(sum_bytes(&data[0], n) + initial)


def update(unsigned short check, unsigned int old, unsigned int new):
    """RFC 1624 incremental update of `check` when a 32-bit (or zero-extended 16-bit) field changes."""
    return replace4(check, old, new)


def ttl_decrement(unsigned short check):
    """IP header checksum after the TTL falls by one."""
    return decrease_ttl(check)
