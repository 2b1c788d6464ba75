"""UDP sockets (RFC 768)."""
import errno
import ipaddress
from collections import deque

import simpy

from libc.string cimport memcpy
from natfast.checksum cimport fold, pseudo_sum, sum_bytes
from natfast.headers cimport IPPROTO_UDP, be16, ip_src, put16
from simcore.engine.frame cimport CHECKSUM_RIGHT, IP, L4, Frame, frame_bytes, frame_free
from simcore.net.endpoints cimport Endpoint
from simcore.net.namespace cimport Namespace
from simcore.transport.errors cimport errno_of_icmp, os_error, own_ttl
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef class UdpSocket(Endpoint):
    """A UDP socket of a namespace.

    Parameters
    ----------
    namespace : Namespace
    port : int
        Local port; 0 for an ephemeral one.
    address : str, optional
        Local address; any by default.

    Raises
    ------
    OSError
        EADDRINUSE, or EADDRNOTAVAIL when no port is free.
    """
    cdef Namespace ns
    cdef object queue
    cdef object getter
    cdef public int limit
    cdef public uint64_t received
    cdef public uint64_t received_bytes
    cdef public uint64_t dropped
    cdef int pending_error

    def __init__(self, Namespace namespace, int port=0, address=None, int limit=256):
        if not 0 <= port <= 65535:
            raise ValueError(f"port {port} is out of range 0-65535")
        self.ns = namespace
        self.protocol = IPPROTO_UDP
        self.local_ip = int(ipaddress.IPv4Address(address)) if address else 0
        self.local_port = port or namespace.ephemeral_port(IPPROTO_UDP, self.local_ip, 0, 0)
        self.queue = deque()
        self.limit = limit
        namespace.sockets.register(self)

    def sendto(self, data, str address, int port, ttl=None):
        """Send a datagram now; `data` is bytes, or a number of zero bytes.

        A `ttl` of its own is from 1 to 255; None is the namespace's `net.ipv4.ip_default_ttl`. Raises OSError:
        EMSGSIZE over 65507 bytes, ENETUNREACH without a route, EINVAL for another `ttl`, or an error that came
        back from an earlier datagram.
        """
        cdef int hops = own_ttl(ttl)
        cdef uint32_t dst = int(ipaddress.IPv4Address(address))
        cdef uint32_t n = data if isinstance(data, int) else len(data)
        self.check()
        if n > 65507:
            raise os_error(errno.EMSGSIZE)
        cdef uint32_t src = self.local_ip or self.ns.source_for(dst)
        if src == 0:
            raise os_error(errno.ENETUNREACH)
        self.emit(dst, port, src, n, None if isinstance(data, int) else bytes(data), hops)

    cdef void emit(self, uint32_t dst, int port, uint32_t src, uint32_t n, bytes data, int ttl) noexcept:
        cdef uint32_t have = 8 + (n if data is not None else 0)
        cdef Frame* f = self.ns.new_packet(have, 8 + n, IPPROTO_UDP, src, dst, 0, ttl, 0x4000)
        cdef uint8_t* u = f.data + L4
        cdef uint16_t check
        put16(u, self.local_port)
        put16(u + 2, port)
        put16(u + 4, 8 + n)
        put16(u + 6, 0)
        if data is not None:
            memcpy(u + 8, <const char*>data, n)
        check = <uint16_t>~fold(sum_bytes(u, have) + pseudo_sum(f.data + IP, IPPROTO_UDP, 8 + n))
        put16(u + 6, check if check != 0 else 0xFFFF)
        f.checksum_ok = CHECKSUM_RIGHT
        f.mark = self.mark
        self.ns.local_out(f)

    def recvfrom(self):
        """Event of the next datagram: (bytes, address, port)."""
        event = simpy.Event(self.ns.env)
        if self.queue:
            event.succeed(self.queue.popleft())
        elif self.pending_error:
            error, self.pending_error = self.pending_error, 0
            event.fail(os_error(error))
        else:
            self.getter = event
        return event

    def close(self):
        """Give the port back."""
        self.ns.sockets.unregister(self)

    def check(self):
        if self.pending_error:
            error, self.pending_error = self.pending_error, 0
            raise os_error(error)

    cdef void packet(self, Frame* f, uint32_t l4) noexcept:
        cdef bytes data
        self.received += 1
        self.received_bytes += f.len - l4 - 8
        if self.limit == 0:                 # a sink: counts, keeps nothing
            frame_free(f)
            return
        data = frame_bytes(f)
        item = (data[l4 + 8:], str(ipaddress.IPv4Address(ip_src(f.data + IP))), be16(f.data + l4))
        frame_free(f)
        if self.getter is not None:
            event, self.getter = self.getter, None
            event.succeed(item)
        elif len(self.queue) < self.limit:
            self.queue.append(item)
        else:
            self.dropped += 1

    cdef void error(self, int kind, int code, uint32_t info) noexcept:
        cdef int number = errno_of_icmp(kind, code)
        if number == 0:
            return
        if self.getter is not None:
            event, self.getter = self.getter, None
            event.fail(os_error(number))
        else:
            self.pending_error = number
