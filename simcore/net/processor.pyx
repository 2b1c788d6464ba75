"""Those who look at a namespace's packets besides itself: who counts the time that they take, and who records flows."""
from simcore.engine.frame cimport frame_free


cdef class FlowProbe:
    cdef void sent(self, Frame* f, double now) noexcept:
        pass

    cdef void arrived(self, const Frame* f, double now) noexcept:
        pass


cdef class Processor(Handler):
    cdef void offer(self, Frame* f, int port) noexcept:
        frame_free(f)

    cdef void hold(self, Interface dev, Frame* f) noexcept:
        frame_free(f)

    cdef void hold_output(self, Frame* f, const Way* w) noexcept:
        frame_free(f)

    cdef void hold_local(self, Endpoint e, Frame* f, uint32_t l4) noexcept:
        frame_free(f)
