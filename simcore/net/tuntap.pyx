"""Where the simulation ends and this machine's kernel begins: a TAP device in place of an interface."""
import fcntl
import os
import struct

from libc.errno cimport EAGAIN, EINTR, EIO, ENOBUFS
from libc.errno cimport errno as c_errno
from libc.stdint cimport uint8_t, uint64_t
from simcore.engine.frame cimport Frame, frame_free, frame_from_bytes, frame_need
from simcore.net.device cimport Device
from simcore.net.interface cimport Interface, seen

cdef extern from "<unistd.h>" nogil:
    ssize_t read(int fd, void* buf, size_t count)
    ssize_t write(int fd, const void* buf, size_t count)

cdef enum:
    LONGEST = 1 << 16
    AT_A_TIME = 64                      # frames taken before the simulation goes on
    TUNSETIFF = 0x400454CA
    IFF_TAP = 0x0002
    IFF_NO_PI = 0x1000


def open_tap(str name):
    """Make a TAP device, which is there as long as the descriptor is open; root.

    Without offloads, so that the kernel hands over whole frames with their checksums, as they are on a wire.

    Returns
    -------
    int
        The descriptor, which does not block.

    Raises
    ------
    OSError
        If there is no /dev/net/tun, or this user may not.
    """
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    except OSError:
        os.close(fd)
        raise
    return fd


cdef class TapPort(Device):
    """What the wire of a simulated interface ends at when that interface is a real one.

    Port 0 takes the interface's place: what comes there goes to the kernel, and what the kernel sends leaves by it.
    The interface still counts, and whoever watches it sees what passes.

    Parameters
    ----------
    interface : Interface
        Whose place it takes.
    fd : int
        Of the TAP device; stays the caller's.

    Attributes
    ----------
    refused : int
        Frames that the kernel did not take, its end being down or out of memory.
    """
    cdef Interface interface
    cdef readonly int fd
    cdef readonly uint64_t refused
    cdef uint8_t buffer[LONGEST]

    def __init__(self, env, Interface interface not None, int fd):
        Device.__init__(self, env, interface.place)
        self.interface = interface
        self.fd = fd
        self.add_port()

    cdef void receive(self, Frame* f, int port) noexcept:
        cdef ssize_t n
        frame_need(f, f.len)
        seen(self.interface, self.calendar.now, f, False)
        n = write(self.fd, f.data, f.len)
        if n < 0:
            if c_errno == EIO or c_errno == ENOBUFS or c_errno == EAGAIN:
                self.refused += 1
            else:
                self.calendar.fail(OSError(c_errno, os.strerror(c_errno), self.name))
        frame_free(f)

    def take(self):
        """Let what the kernel has sent, or as much of it as is good at a time, go on its way now.

        Raises
        ------
        OSError
            If the descriptor cannot be read.
        """
        cdef Frame* f
        cdef ssize_t n
        cdef int i
        for i in range(AT_A_TIME):
            n = read(self.fd, self.buffer, LONGEST)
            if n < 0:
                if c_errno == EAGAIN or c_errno == EINTR:
                    return
                raise OSError(c_errno, os.strerror(c_errno), self.name)
            f = frame_from_bytes(self.buffer, <unsigned int>n)
            f.born = self.calendar.now
            seen(self.interface, self.calendar.now, f, True)
            self.send(0, f)
