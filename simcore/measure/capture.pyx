"""Taps on interfaces: to a pcapng file, or to a trace that explains each hop."""
from libc.stdint cimport uint32_t, uint64_t

from natfast.blocks cimport BlockBuffer
from simcore.engine.frame cimport Frame, frame_bytes
from simcore.net.interface cimport Interface, Tap

cdef extern from "math.h":
    long long llrint(double x) nogil


cdef class CaptureTap(Tap):
    """Captures the frames of one interface.

    Parameters
    ----------
    writer : natfast.capture.PcapngWriter
    buffer : natfast.blocks.BlockBuffer
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
    cdef BlockBuffer buffer
    cdef object test
    cdef uint32_t snaplen
    cdef uint32_t number

    def __init__(self, writer, BlockBuffer buffer not None, str place, test=None, uint32_t snaplen=0, Tap after=None):
        self.buffer = buffer
        self.after = after
        self.test = test
        self.snaplen = snaplen
        self.number = writer.add_interface(place, snaplen)

    cdef int look(self, double time, Interface interface, const Frame* f, bint outgoing) except -1:
        if self.test is None or self.test(frame_bytes(f)):
            self.buffer.add(self.number, <uint64_t>llrint(time * 1e9), f.data, f.have, self.snaplen if 0 < self.snaplen < f.len else f.len, f.len)
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
