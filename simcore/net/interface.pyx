cdef class Tap:
    """Watches an interface; `frame` sees each frame that passes, and hands it to the tap that was there before."""

    cdef void frame(self, double time, Interface interface, const Frame* f, bint outgoing) noexcept:
        if self.after is not None:
            self.after.frame(time, interface, f, outgoing)


cdef class Interface:
    """A network interface: created by its namespace's `add_*` methods."""

    def __init__(self, str namespace, str name, int index, int kind, int number, int port, mac, uint32_t mtu):
        cdef bytes raw = bytes.fromhex(mac.replace(":", ""))
        cdef int i
        if len(raw) != 6:
            raise ValueError(f"{namespace}/{name}: {mac!r} is not a MAC address")
        self.name = name
        self.place = f"{namespace}/{name}"
        self.index = index
        self.kind = kind
        self.number = number
        self.port = port
        self.mtu = mtu
        self.up = True
        self.members = []
        self.addresses = []
        for i in range(6):
            self.mac[i] = raw[i]

    @property
    def mac_address(self):
        """The MAC as `02:42:ac:11:00:02`."""
        return ":".join(f"{b:02x}" for b in self.mac[:6])

    def __repr__(self):
        return f"<Interface {self.place}>"
