"""What callers hand over: times, columns and lengths, checked before anything looks at them."""
import ipaddress

cimport numpy as np
from libc.stdint cimport uint32_t
import numpy

np.import_array()


cdef object times_of(object now, Py_ssize_t n, str what):
    """A time for each of `n`, or None if one number is for all."""
    if type(now) is float or type(now) is int or numpy.ndim(now) == 0:
        return None
    times = numpy.ascontiguousarray(now, numpy.float64)
    if times.shape[0] != n:
        raise ValueError(f"now has {times.shape[0]} entries for {n} {what}")
    return times


cdef dict COLUMN_TYPES = {"src": numpy.uint32, "dst": numpy.uint32, "sport": numpy.uint16, "dport": numpy.uint16, "proto": numpy.uint8,
                "length": numpy.uint16, "flags": numpy.uint8, "seq": numpy.uint32, "ack": numpy.uint32, "window": numpy.uint16}


cdef object column(str name, values, Py_ssize_t n):
    """The values as a contiguous array of the column's type; a number that it cannot hold is an error."""
    kind = COLUMN_TYPES[name]
    given = numpy.asarray(values)
    if given.dtype.kind in "UO" and (name == "src" or name == "dst"):
        given = numpy.array([address_number(name, text) for text in given.flat], numpy.uint32).reshape(given.shape)
    if given.ndim == 0:
        given = numpy.full(n, given)
    if given.ndim != 1 or given.shape[0] != n:
        raise ValueError(f"columns: {name} has shape {given.shape}, expected ({n},)")
    if given.dtype != kind:
        if given.dtype.kind not in "iu":
            raise ValueError(f"columns: {name} is {given.dtype}, expected {numpy.dtype(kind)}")
        if n and (given.min() < 0 or given.max() > numpy.iinfo(kind).max):
            raise ValueError(f"columns: {name} has numbers outside 0 to {numpy.iinfo(kind).max}")
    return numpy.ascontiguousarray(given, kind)


cdef uint32_t address_number(str name, text) except? 0:
    """A dotted address as a number."""
    try:
        return int(ipaddress.IPv4Address(str(text)))
    except ValueError:
        raise ValueError(f"columns: {name}: {str(text)!r} is not an IPv4 address") from None


cdef void* pointer(dict arrays, str name) except? NULL:
    """Where an array's numbers lie; NULL if there is none of that name."""
    array = arrays.get(name)
    return NULL if array is None else np.PyArray_DATA(array)


cdef int frames_of(frames, lengths, Frames* f) except -1:
    """Where a batch's frames and lengths lie, if they are what they should be and no frame claims to be longer than its row."""
    cdef size_t i
    cdef uint32_t most = 0
    if (not np.PyArray_Check(frames) or np.PyArray_NDIM(frames) != 2 or np.PyArray_TYPE(frames) != np.NPY_UINT8
            or not np.PyArray_ISCARRAY(frames)):
        raise ValueError("frames: expected a C-contiguous writable uint8 array (n, stride)")
    if (not np.PyArray_Check(lengths) or np.PyArray_NDIM(lengths) != 1 or np.PyArray_TYPE(lengths) != np.NPY_UINT32
            or not np.PyArray_ISCARRAY(lengths)):
        raise ValueError("lengths: expected a contiguous writable uint32 array (n,)")
    f.at = <uint8_t*>np.PyArray_DATA(frames)
    f.count = np.PyArray_DIM(frames, 0)
    f.stride = np.PyArray_DIM(frames, 1)
    f.lengths = <uint32_t*>np.PyArray_DATA(lengths)
    if <size_t>np.PyArray_DIM(lengths, 0) != f.count:
        raise ValueError(f"lengths has {np.PyArray_DIM(lengths, 0)} entries for {f.count} frames")
    for i in range(f.count):
        most = f.lengths[i] if f.lengths[i] > most else most
    if most > f.stride:
        i = int(numpy.argmax(lengths > f.stride))
        raise ValueError(f"lengths[{i}] is {f.lengths[i]}, more than the frames' stride of {f.stride} bytes")
    return 0
