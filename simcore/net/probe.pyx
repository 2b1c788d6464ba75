"""The far ends of wires for code that deals in `bytes`: tests, replay, tools."""
from simcore.engine.frame cimport Frame, frame_bytes, frame_free, frame_of
from simcore.net.device cimport Device


cdef class Collector(Device):
    """Keeps every frame that arrives: `frames` is a list of (port, frame bytes)."""
    cdef public list frames

    def __init__(self, env, str name, int ports):
        Device.__init__(self, env, name)
        self.frames = []
        for _ in range(ports):
            self.add_port()

    cdef void receive(self, Frame* f, int port) noexcept:
        self.frames.append((port, frame_bytes(f)))
        frame_free(f)


def inject(Device device, int port, frame):
    """Hand a frame, bytes or the like, to a device as if it had just arrived at `port`; ValueError if there is no such port."""
    cdef Frame* f
    device.check_port(port)
    f = frame_of(frame)
    f.born = device.calendar.now
    device.deliver(f, port)
