"""Taps on interfaces: to a pcapng file, or to a trace that explains each hop."""
from simcore.engine.frame cimport Frame, frame_bytes
from simcore.net.interface cimport Interface, Tap


cdef class CaptureTap(Tap):
    """Writes every frame of one interface to a pcapng writer."""
    cdef object writer
    cdef int number

    def __init__(self, writer, str place):
        self.writer = writer
        self.number = writer.add_interface(place)

    cdef void frame(self, double time, Interface interface, const Frame* f, bint outgoing) noexcept:
        self.writer.write(self.number, time, frame_bytes(f))


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
