"""Taps on interfaces: to a pcapng file, or to a trace that explains each hop."""
from simcore.engine.frame cimport Frame, frame_bytes
from simcore.net.interface cimport Interface, Tap


cdef class CaptureTap(Tap):
    """Writes the frames of one interface to a pcapng writer.

    Parameters
    ----------
    writer : natfast.capture.PcapngWriter
    place : str
        The interface's name in the file.
    test : callable, optional
        Only frames for which `test(bytes)` is true; see `simcore.measure.expression`.
    snaplen : int
        Bytes kept of a frame, 0 for all.
    after : Tap, optional
        Is told, too.
    """
    cdef object writer
    cdef object test
    cdef int snaplen
    cdef Tap after
    cdef int number

    def __init__(self, writer, str place, test=None, int snaplen=0, Tap after=None):
        self.after = after
        self.writer = writer
        self.test = test
        self.snaplen = snaplen
        self.number = writer.add_interface(place, snaplen)

    cdef void frame(self, double time, Interface interface, const Frame* f, bint outgoing) noexcept:
        cdef bytes data = frame_bytes(f)
        if self.after is not None:
            self.after.frame(time, interface, f, outgoing)
        if self.test is not None and not self.test(data):
            return
        if self.snaplen and len(data) > self.snaplen:
            data = data[:self.snaplen]
        self.writer.write(self.number, time, data, f.len)


cdef class TraceTap(Tap):
    """Tells a tracer of every frame, then the next tap."""
    cdef object tracer
    cdef Tap after

    def __init__(self, tracer, Tap after=None):
        self.tracer = tracer
        self.after = after

    cdef void frame(self, double time, Interface interface, const Frame* f, bint outgoing) noexcept:
        self.tracer.seen(time, interface.place, f.id, frame_bytes(f), outgoing)
        if self.after is not None:
            self.after.frame(time, interface, f, outgoing)
