"""Interfaces with MACs of their own on one network card: Linux's macvlan driver in its bridge mode."""
from libc.stdint cimport uint64_t
from simcore.engine.frame cimport Frame, frame_copy, frame_free
from simcore.engine.map cimport U64Map
from simcore.net.device cimport Device
from simcore.net.interface cimport Interface, seen
from simcore.net.link cimport Link
from simcore.net.mac cimport mac_key
from simcore.net.namespace cimport Namespace

cdef enum:
    WIRE = 0                            # the port that the card's wire comes in by; the others are interfaces


cdef class Macvlan(Device):
    """What stands between a card's wire, its owner, and the macvlan interfaces on it.

    An interface's frames go to another interface on the card, or onto the wire, in the card's own queue; from the wire a frame
    comes to the interface with its MAC, else to the owner, and a broadcast to all. What the owner sends goes onto the wire: it and
    the interfaces do not reach each other, as on Linux.

    Parameters
    ----------
    owner : Namespace
        Whose card it is.
    interface : str
        The card.
    wire : Link
        What it sends into.
    """
    cdef Namespace owner
    cdef Interface card
    cdef Link wire
    cdef U64Map macs                    # MAC -> port

    def __init__(self, env, str name, Namespace owner, str interface, Link wire):
        Device.__init__(self, env, name)
        self.owner = owner
        self.card = owner.interface(interface)
        self.wire = wire
        self.macs = U64Map()
        self.add_port()

    def add(self, Interface interface not None):
        """A port for an interface to be wired to."""
        cdef int port = self.add_port()
        self.macs.put(mac_key(interface.mac), port)
        return port

    cdef void receive(self, Frame* f, int port) noexcept:
        cdef uint64_t to
        if f.data[0] & 1:
            self.flood(f, port)
        elif self.macs.get(mac_key(f.data), &to):
            if port == WIRE:
                seen(self.card, self.calendar.now, f, False)    # the card sees what is not its owner's, too
            self.send(<int>to, f)
        elif port == WIRE:
            self.owner.deliver(f, self.card.port)
        else:
            self.onto_wire(f)

    cdef void flood(self, Frame* f, int port) noexcept:
        """To every interface but the one it came from, and to the wire, or from there to the owner."""
        cdef int other
        for other in range(WIRE + 1, len(self.ports)):
            if other != port:
                self.send(other, frame_copy(f))
        if port == WIRE:
            self.owner.deliver(f, self.card.port)
        else:
            self.onto_wire(f)

    cdef void onto_wire(self, Frame* f) noexcept:
        if not self.card.is_up:
            frame_free(f)
            return
        seen(self.card, self.calendar.now, f, True)
        self.wire.send(f)
