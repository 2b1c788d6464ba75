"""ICMP echo (RFC 792)."""
import ipaddress

import simpy

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memset
from natfast.headers cimport IPPROTO_ICMP, be16, put16
from simcore.engine.frame cimport L4, Frame, frame_free
from simcore.net.endpoints cimport Endpoint
from simcore.net.namespace cimport Namespace
from simcore.net.transport_checksum cimport set_checksum
from simcore.transport.errors cimport os_error, own_ttl


cdef class PingSocket(Endpoint):
    """Sends echo requests and times the answers.

    >>> # in a SimPy process: rtt = yield ping.echo("172.17.0.1")
    """
    cdef Namespace ns
    cdef dict waiting
    cdef uint16_t seq

    def __init__(self, Namespace namespace, int identifier=1):
        self.ns = namespace
        self.protocol = IPPROTO_ICMP
        self.local_port = identifier
        self.waiting = {}
        namespace.sockets.register(self)

    def echo(self, str address, int size=56, double timeout=1.0, ttl=None):
        """Event of the round-trip time in seconds, None if no answer came within `timeout`.

        A `ttl` of its own is from 1 to 255, else OSError EINVAL; None is the namespace's `net.ipv4.ip_default_ttl`.
        """
        cdef int hops = own_ttl(ttl)
        cdef uint32_t dst = int(ipaddress.IPv4Address(address))
        cdef uint32_t src = self.ns.source_for(dst)
        if src == 0:
            raise os_error(101)
        self.seq += 1
        cdef Frame* f = self.ns.new_packet(8, 8 + size, IPPROTO_ICMP, src, dst, 0, hops, 0x4000)
        cdef uint8_t* m = f.data + L4
        memset(m, 0, 8)
        m[0] = 8
        put16(m + 4, self.local_port)
        put16(m + 6, self.seq)
        set_checksum(f, L4, 2, IPPROTO_ICMP)
        f.mark = self.mark
        event = simpy.Event(self.ns.env)
        self.waiting[self.seq] = (event, self.ns.calendar.now)
        timer = self.ns.env.timeout(timeout)
        timer.callbacks.append(lambda _, seq=self.seq: self.give_up(seq))
        self.ns.local_out(f)
        return event

    def give_up(self, seq):
        event, _ = self.waiting.pop(seq, (None, 0))
        if event is not None:
            event.succeed(None)

    def close(self):
        self.ns.sockets.unregister(self)

    cdef void packet(self, Frame* f, uint32_t l4) noexcept:
        event, sent = self.waiting.pop(be16(f.data + l4 + 6), (None, 0.0))
        frame_free(f)
        if event is not None:
            event.succeed(self.ns.calendar.now - sent)

    cdef void error(self, int kind, int code, uint32_t info) noexcept:
        pass
