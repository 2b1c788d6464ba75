"""Taps on interfaces: to a pcapng file, or to a trace that explains each hop."""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from simcore.engine.frame cimport Frame, frame_bytes
from simcore.net.interface cimport Interface, Tap

cdef extern from "math.h":
    long long llrint(double x) nogil

cdef enum:
    ROOM = 1 << 20              # more than any frame: 65 549 bytes


cdef class CaptureBuffer:
    """Blocks on their way to a pcapng file, encoded here and handed to the writer a megabyte at a time.

    Parameters
    ----------
    writer : natfast.capture.PcapngWriter
    """
    cdef object writer
    cdef uint8_t* data
    cdef size_t size
    cdef object error

    def __cinit__(self, writer):
        self.writer = writer
        self.data = <uint8_t*>malloc(ROOM)
        if self.data == NULL:
            raise MemoryError
        writer.before_closing(self.flush)

    def __dealloc__(self):
        free(self.data)

    def flush(self):
        """Hand over what is there."""
        if self.error is not None:
            raise self.error
        size, self.size = self.size, 0
        self.writer.append(PyBytes_FromStringAndSize(<char*>self.data, size))

    cdef void add(self, uint32_t interface, double time, const Frame* f, uint32_t length) noexcept:
        """An enhanced packet block with the first `length` bytes of a frame."""
        cdef uint32_t padded = (length + 3) & ~<uint32_t>3, total = 32 + padded, n = f.have if f.have < length else length
        cdef uint64_t ns = <uint64_t>llrint(time * 1e9)
        cdef uint32_t* w
        if self.size + total > ROOM:
            try:
                self.flush()
            except Exception as error:          # a full disk: said when the file is closed
                self.error = error
                self.size = 0
        w = <uint32_t*>(self.data + self.size)
        w[0] = 6
        w[1] = total
        w[2] = interface
        w[3] = <uint32_t>(ns >> 32)
        w[4] = <uint32_t>ns
        w[5] = length
        w[6] = f.len
        memcpy(<uint8_t*>w + 28, f.data, n)
        memset(<uint8_t*>w + 28 + n, 0, padded - n)
        w[7 + padded // 4] = total
        self.size += total


cdef class CaptureTap(Tap):
    """Captures the frames of one interface.

    Parameters
    ----------
    writer : natfast.capture.PcapngWriter
    buffer : CaptureBuffer
        Of that writer, shared by all taps: frames of all interfaces stay in order.
    place : str
        The interface's name in the file.
    test : callable, optional
        Only frames for which `test(bytes)` is true; see `simcore.measure.expression`.
    snaplen : int
        Bytes kept of a frame, 0 for all.
    after : Tap, optional
        Is told, too.
    """
    cdef CaptureBuffer buffer
    cdef object test
    cdef uint32_t snaplen
    cdef uint32_t number

    def __init__(self, writer, CaptureBuffer buffer not None, str place, test=None, uint32_t snaplen=0, Tap after=None):
        self.buffer = buffer
        self.after = after
        self.test = test
        self.snaplen = snaplen
        self.number = writer.add_interface(place, snaplen)

    cdef int look(self, double time, Interface interface, const Frame* f, bint outgoing) except -1:
        if self.test is None or self.test(frame_bytes(f)):
            self.buffer.add(self.number, time, f, self.snaplen if 0 < self.snaplen < f.len else f.len)
        return 0


cdef class FrameTap(Tap):
    """Calls `seen(time, frame, outgoing)` with each frame of an interface, as bytes."""
    cdef object seen

    def __init__(self, seen, Tap after=None):
        self.seen = seen
        self.after = after

    cdef int look(self, double time, Interface interface, const Frame* f, bint outgoing) except -1:
        self.seen(time, frame_bytes(f), bool(outgoing))
        return 0


cdef class TraceTap(Tap):
    """Tells a tracer of every frame, then the next tap."""
    cdef object tracer

    def __init__(self, tracer, Tap after=None):
        self.tracer = tracer
        self.after = after

    cdef int look(self, double time, Interface interface, const Frame* f, bint outgoing) except -1:
        self.tracer.seen(time, interface.place, f.id, frame_bytes(f), outgoing)
        return 0
