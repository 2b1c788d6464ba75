from simcore.net.mac cimport mac_bytes


cdef class Tap:
    """Watches an interface; `frame` shows each frame that passes to the tap that was there before, then to this one."""

    cdef void frame(self, double time, Interface interface, const Frame* f, bint outgoing) noexcept:
        if self.after is not None:
            self.after.frame(time, interface, f, outgoing)
        try:
            self.look(time, interface, f, outgoing)
        except Exception as error:
            interface.calendar.fail(error)

    cdef int look(self, double time, Interface interface, const Frame* f, bint outgoing) except -1:
        """What this tap does with a frame; an error ends the run."""
        return 0


cdef class Interface:
    """A network interface: created by its namespace's `add_*` methods."""

    def __init__(self, str namespace, str name, int index, int kind, int number, int port, mac, uint32_t mtu):
        cdef bytes raw = mac_bytes(mac)
        cdef int i
        self.name = name
        self.place = f"{namespace}/{name}"
        self.index = index
        self.kind = kind
        self.number = number
        self.port = port
        self.mtu = mtu
        self.is_up = True
        self.members = []
        self.addresses = []
        for i in range(6):
            self.mac[i] = raw[i]

    cdef void update_plain(self) noexcept:
        self.plain = self.is_up and self.wire is not None and not self.watched

    @property
    def up(self):
        return self.is_up

    @up.setter
    def up(self, bint up):
        self.is_up = up
        self.update_plain()

    @property
    def tap(self):
        """Who watches; None: nobody."""
        return self.first_tap

    @tap.setter
    def tap(self, Tap tap):
        self.first_tap = tap
        self.watched = tap is not None
        self.update_plain()

    @property
    def mac_address(self):
        """The MAC as `02:42:ac:11:00:02`."""
        return ":".join(f"{b:02x}" for b in self.mac[:6])

    def __repr__(self):
        return f"<Interface {self.place}>"
