"""Those who look at a namespace's packets besides itself."""
from libc.stdint cimport uint32_t
from simcore.engine.calendar cimport Handler
from simcore.engine.frame cimport Frame
from simcore.net.endpoints cimport Endpoint
from simcore.net.interface cimport Interface
from simcore.net.ways cimport Way

cdef class FlowProbe:
    """Sees each packet as its sender made it and as its receiver got it; see `simcore.measure.flows`."""
    cdef void sent(self, Frame* f, double now) noexcept
    cdef void arrived(self, const Frame* f, double now) noexcept

cdef class Processor(Handler):
    """What takes the time of handling packets, if it is to be counted; see `simcore.net.cpu`."""
    cdef bint running           # a packet is being handled: what leaves waits until its time has passed
    cdef uint32_t bridged       # what the packet at hand has needed
    cdef uint32_t routed
    cdef uint32_t tracked
    cdef uint32_t natted
    cdef uint32_t delivered
    cdef void offer(self, Frame* f, int port) noexcept
    cdef void hold(self, Interface dev, Frame* f) noexcept
    cdef void hold_output(self, Frame* f, const Way* w) noexcept
    cdef void hold_local(self, Endpoint e, Frame* f, uint32_t l4) noexcept
