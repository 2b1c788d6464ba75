"""Checksum functions for Python: what the packet path uses, callable one by one for tests and tools."""
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint32_t
from natfast.checksum cimport decrease_ttl, fold, replace4, sum_bytes


def internet_checksum(data, unsigned int initial=0):
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
    cdef Py_buffer view
    cdef uint32_t check
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    check = fold((sum_bytes(<const uint8_t*>view.buf, <uint32_t>view.len) if view.len else 0) + initial)
    PyBuffer_Release(&view)
    return <unsigned short>~check


def update(unsigned short check, unsigned int old, unsigned int new):
    """RFC 1624 incremental update of `check` when a 32-bit (or zero-extended 16-bit) field changes."""
    return replace4(check, old, new)


def ttl_decrement(unsigned short check):
    """IP header checksum after the TTL falls by one."""
    return decrease_ttl(check)
