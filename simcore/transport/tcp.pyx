"""TCP (RFC 9293) as a sans-IO endpoint with a sockets interface for SimPy processes.

Handshake, retransmission (RFC 6298) with fast retransmit and NewReno recovery (RFC 5681, 6582), CUBIC
growth (RFC 9438), window scaling and timestamps (RFC 7323), delayed ACK, Nagle, zero-window probes,
orderly and abortive close, TIME_WAIT. Payload is real bytes, or a count of zero bytes that costs no memory.
"""
import errno
import ipaddress
from collections import deque

import simpy

from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.math cimport cbrt
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from natfast.checksum cimport fold, pseudo_sum, sum_bytes
from natfast.headers cimport (IPPROTO_TCP, TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN, after, be16, be32, before, ip_dst, ip_src,
                              put16, put32)
from natfast.tuples cimport siphash13
from simcore.engine.frame cimport Frame, frame_bytes, frame_free
from simcore.net.namespace cimport Endpoint, Namespace
from simcore.transport.errors cimport errno_of_icmp, os_error

cdef enum:
    IP = 14
    L4 = 34
    CLOSED = 0
    SYN_SENT = 2
    SYN_RCVD = 3
    ESTABLISHED = 4
    FIN_WAIT_1 = 5
    FIN_WAIT_2 = 6
    CLOSE_WAIT = 7
    CLOSING = 8
    LAST_ACK = 9
    TIME_WAIT = 10

STATES = ("CLOSED", "LISTEN", "SYN_SENT", "SYN_RCVD", "ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT", "CLOSING",
          "LAST_ACK", "TIME_WAIT")

cdef enum:                          # timers
    TIMER_RTO = 0
    TIMER_DELACK = 1

cdef double RTO_MIN = 0.2           # Linux: 200 ms, not RFC 6298's 1 s
cdef double RTO_MAX = 120.0
cdef double RTO_FIRST = 1.0
cdef double DELACK = 0.04
cdef double TIME_WAIT_LENGTH = 60.0
cdef int SYN_RETRIES = 6
cdef int RETRIES = 15
cdef double CUBIC_C = 0.4
cdef double CUBIC_BETA = 0.7


cdef class TcpSocket(Endpoint):
    """A TCP connection.

    Parameters
    ----------
    namespace : Namespace
    port : int
        Local port; 0 for an ephemeral one.
    rcvbuf, sndbuf : int
        Bytes; what the receive window offers at most, and what `send` takes before it waits.
    nodelay : bool
        Switch Nagle's algorithm off.

    Attributes
    ----------
    cwnd, ssthresh : float
        Bytes.
    srtt, rto : float
        Seconds.
    retransmits : int
        Segments sent again.
    """
    cdef Namespace ns
    cdef TcpListener parent
    cdef int state_
    cdef public int mss
    cdef uint32_t iss, snd_una, snd_nxt, snd_max, snd_wnd, snd_wl1, snd_wl2
    cdef uint32_t irs, rcv_nxt, rcv_edge
    cdef int snd_scale, rcv_scale
    cdef bint timestamps, scaling
    cdef uint32_t ts_recent
    cdef readonly uint32_t rcvbuf
    cdef readonly uint32_t sndbuf
    cdef bint nodelay
    # send queue: chunks (bytes or None, length) from stream position `tx_base` on
    cdef object tx
    cdef uint64_t tx_base
    cdef uint64_t tx_end
    cdef bint fin_queued, fin_sent
    cdef object tx_waiters
    # received and not yet read; out of order apart
    cdef object rx
    cdef uint64_t rx_bytes
    cdef list ooo
    cdef bint fin_received
    cdef object getter
    cdef uint32_t getter_max
    cdef bint getter_count
    cdef object connecting
    cdef object closing
    cdef int failure
    # congestion and retransmission
    cdef readonly double cwnd
    cdef readonly double ssthresh
    cdef readonly double srtt
    cdef readonly double rttvar
    cdef readonly double rto
    cdef int backoff
    cdef int dupacks
    cdef bint recovering
    cdef uint32_t recover
    cdef double w_max, epoch, k, w_est
    cdef double deadline[2]
    cdef bint pending[2]
    cdef uint32_t unacked_bytes
    cdef readonly uint64_t retransmits
    cdef readonly uint64_t segments_in
    cdef readonly uint64_t bytes_in
    cdef readonly uint64_t bytes_out
    cdef public uint32_t flow

    def __init__(self, Namespace namespace, int port=0, int rcvbuf=4 << 20, int sndbuf=4 << 20, bint nodelay=False):
        if not 0 <= port <= 65535:
            raise ValueError(f"port {port} is out of range 0-65535")
        self.ns = namespace
        self.protocol = IPPROTO_TCP
        self.local_port = port
        self.rcvbuf = rcvbuf
        self.sndbuf = sndbuf
        self.nodelay = nodelay
        self.mss = 1460
        self.tx = deque()
        self.tx_waiters = deque()
        self.rx = deque()
        self.ooo = []
        self.rto = RTO_FIRST
        self.ssthresh = 1e18

    @property
    def state(self):
        """RFC 9293's name of the connection's state."""
        return STATES[self.state_]

    @property
    def inflight(self):
        """Bytes sent and not acknowledged."""
        return self.snd_nxt - self.snd_una

    @property
    def local(self):
        """(address, port) of this end."""
        return str(ipaddress.IPv4Address(self.local_ip)), self.local_port

    @property
    def remote(self):
        """(address, port) of the other end."""
        return str(ipaddress.IPv4Address(self.remote_ip)), self.remote_port

    # --- the sockets interface ---------------------------------------------------------------------

    def connect(self, str address, int port):
        """Event of the connection being established; fails with OSError (ECONNREFUSED, ETIMEDOUT, ...)."""
        if self.state_ != CLOSED or self.failure:
            raise os_error(errno.EISCONN)
        self.remote_ip = int(ipaddress.IPv4Address(address))
        if not 1 <= port <= 65535:
            raise ValueError(f"port {port} is out of range 1-65535")
        self.remote_port = port
        self.local_ip = self.ns.source_for(self.remote_ip)
        if self.local_ip == 0:
            raise os_error(errno.ENETUNREACH)
        if self.local_port == 0:
            self.local_port = self.ns.ephemeral_port(IPPROTO_TCP, self.local_ip, self.remote_ip, port)
        self.ns.register(self)
        self.connecting = simpy.Event(self.ns.env)
        self.start(SYN_SENT)
        self.emit(TCP_SYN, self.iss, 0, 0)
        self.arm(TIMER_RTO, self.rto)
        return self.connecting

    def send(self, data):
        """Queue bytes, or a number of zero bytes; the event comes when the send buffer has room again."""
        event = simpy.Event(self.ns.env)
        if self.failure:
            event.fail(os_error(self.failure))
            return event
        if self.fin_queued or self.state_ not in (ESTABLISHED, CLOSE_WAIT, SYN_SENT, SYN_RCVD):
            event.fail(os_error(errno.EPIPE))
            return event
        cdef uint64_t n = data if isinstance(data, int) else len(data)
        if n:
            self.tx.append((None if isinstance(data, int) else bytes(data), n))
            self.tx_end += n
        if self.tx_end - self.tx_base <= self.sndbuf:
            event.succeed(n)
        else:
            self.tx_waiters.append((event, n))
        self.push()
        return event

    def recv(self, uint32_t size=65536):
        """Event of up to `size` bytes; empty when the other side has closed."""
        return self.receive_event(size, False)

    def recv_count(self, uint32_t size=0xFFFFFFFFU):
        """As `recv`, but the event's value is the number of bytes: nothing is copied."""
        return self.receive_event(size, True)

    def receive_event(self, uint32_t size, bint count):
        event = simpy.Event(self.ns.env)
        if self.rx_bytes or self.fin_received:
            event.succeed(self.take(size, count))
        elif self.failure:
            event.fail(os_error(self.failure))
        elif self.state_ == CLOSED:
            event.fail(os_error(errno.ENOTCONN))
        else:
            self.getter = event
            self.getter_max = size
            self.getter_count = count
        return event

    def close(self):
        """Send what is queued, then FIN; the event comes when the other side has acknowledged it."""
        event = simpy.Event(self.ns.env)
        if self.state_ in (CLOSED, TIME_WAIT) or self.failure:
            self.finish()
            event.succeed()
            return event
        self.closing = event
        if not self.fin_queued:
            self.fin_queued = True
            self.push()
        return event

    def abort(self):
        """Reset the connection."""
        if self.state_ in (SYN_RCVD, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT):
            self.emit(TCP_RST | TCP_ACK, self.snd_nxt, 0, 0)
        self.die(errno.ECONNABORTED)

    # --- helpers -----------------------------------------------------------------------------------

    cdef void start(self, int state) noexcept:
        cdef double now = self.ns.calendar.now
        self.state_ = state
        self.iss = <uint32_t>(siphash13((<uint64_t>self.remote_ip << 32) | self.local_ip,
                                        (<uint64_t>self.remote_port << 16) | self.local_port, 0x5EED, 0x15) +
                              <uint64_t>(now * 250000.0))          # RFC 6528
        self.snd_una = self.iss
        self.snd_nxt = self.iss + 1
        self.snd_max = self.snd_nxt
        self.timestamps = True
        self.scaling = True
        self.rcv_scale = 7

    cdef inline uint32_t ts_now(self) noexcept:
        """The timestamp clock (RFC 7323): milliseconds, never 0."""
        return <uint32_t>(<uint64_t>(self.ns.calendar.now * 1000.0)) + 1

    cdef uint32_t window(self) noexcept:
        """What we can take: never less than was offered before (RFC 9293 3.8.6)."""
        cdef uint32_t room = self.rcvbuf - <uint32_t>self.rx_bytes if self.rx_bytes < self.rcvbuf else 0
        if before(self.rcv_nxt + room, self.rcv_edge):
            room = self.rcv_edge - self.rcv_nxt
        return room

    cdef void emit(self, uint32_t flags, uint32_t seq, uint64_t at, uint32_t n) noexcept:
        """One segment with `n` bytes of the stream from position `at` on."""
        cdef uint32_t options = 0, header, window = self.window()
        cdef uint8_t o[40]
        cdef bytes data = None
        cdef Frame* f
        cdef uint8_t* t
        cdef uint32_t have
        if flags & TCP_SYN:
            o[0] = 2
            o[1] = 4
            put16(o + 2, self.mss)
            options = 4
            if self.scaling:
                o[4] = 1
                o[5] = 3
                o[6] = 3
                o[7] = <uint8_t>self.rcv_scale
                options = 8
            if window > 64240:
                window = 64240
        if self.timestamps and not flags & TCP_RST:
            o[options] = 1
            o[options + 1] = 1
            o[options + 2] = 8
            o[options + 3] = 10
            put32(o + options + 4, self.ts_now())
            put32(o + options + 8, self.ts_recent if flags & TCP_ACK else 0)
            options += 12
        if n:
            data = self.stream(at, n)
        header = 20 + options
        have = header + (n if data is not None else 0)
        f = self.ns.new_packet(have, header + n, IPPROTO_TCP, self.local_ip, self.remote_ip, 0, 64, 0x4000)
        t = f.data + L4
        put16(t, self.local_port)
        put16(t + 2, self.remote_port)
        put32(t + 4, seq)
        put32(t + 8, self.rcv_nxt if flags & TCP_ACK else 0)
        t[12] = <uint8_t>((header >> 2) << 4)
        t[13] = <uint8_t>flags
        if flags & TCP_SYN:
            put16(t + 14, window)
            self.rcv_edge = self.rcv_nxt + window
        else:
            window >>= self.rcv_scale if self.scaling else 0
            if window > 65535:
                window = 65535
            put16(t + 14, window)
            self.rcv_edge = self.rcv_nxt + (window << (self.rcv_scale if self.scaling else 0))
        put32(t + 16, 0)
        memcpy(t + 20, o, options)
        if data is not None:
            memcpy(t + header, <const char*>data, n)
        put16(t + 16, <uint16_t>~fold(sum_bytes(t, have) + pseudo_sum(f.data + IP, IPPROTO_TCP, header + n)))
        f.checksum_ok = 1
        f.flow = self.flow
        if flags & TCP_ACK:
            self.unacked_bytes = 0
            self.deadline[TIMER_DELACK] = 0
        self.ns.local_out(f)

    cdef bytes stream(self, uint64_t at, uint32_t n):
        """Bytes [at, at + n) of the send queue; None if all are zeros."""
        cdef uint64_t base = self.tx_base, length
        cdef uint64_t a, b
        cdef bytes chunk
        cdef list parts = []
        cdef bint real = False
        for chunk, length in self.tx:
            if base >= at + n:
                break
            if base + length > at:
                a = at - base if at > base else 0
                b = at + n - base if at + n < base + length else length
                if chunk is None:
                    parts.append(b - a)
                else:
                    parts.append(chunk[a:b])
                    real = True
            base += length
        if not real:
            return None
        return b"".join(bytes(p) if isinstance(p, int) else p for p in parts)

    cdef void arm(self, int timer, double delay) noexcept:
        """(Re)start a timer. One event waits at most; it is moved on when it comes too early."""
        self.deadline[timer] = self.ns.calendar.now + delay
        if not self.pending[timer]:
            self.pending[timer] = True
            Py_INCREF(self)                 # the calendar only borrows its handlers
            self.ns.calendar.at(self.deadline[timer], self, timer)

    cdef void fire(self, uint64_t token) noexcept:
        cdef int timer = <int>token
        cdef double now = self.ns.calendar.now
        if self.deadline[timer] > now:
            self.ns.calendar.at(self.deadline[timer], self, timer)
            return
        self.pending[timer] = False
        if self.deadline[timer] != 0 and self.state_ != CLOSED:
            self.deadline[timer] = 0
            if timer == TIMER_DELACK:
                self.emit(TCP_ACK, self.snd_nxt, 0, 0)
            elif self.state_ == TIME_WAIT:
                self.finish()
            else:
                self.timeout()
        Py_DECREF(self)

    cdef void finish(self) noexcept:
        """The connection is over: forget it."""
        cdef TcpListener parent = self.parent
        self.state_ = CLOSED
        self.deadline[TIMER_RTO] = 0
        self.deadline[TIMER_DELACK] = 0
        if self.local_port and self.remote_ip:
            self.ns.unregister(self)
        if parent is not None:
            parent.half_open.discard(self)
            self.parent = None

    cdef void die(self, int number) noexcept:
        """The connection failed: everyone who waits is told."""
        self.failure = number
        self.finish()
        for event in (self.connecting, self.getter):
            if event is not None and not event.triggered:
                event.fail(os_error(number))
        for event, _ in self.tx_waiters:
            event.fail(os_error(number))
        self.tx_waiters.clear()
        self.connecting = None
        self.getter = None
        if self.closing is not None and not self.closing.triggered:
            self.closing.succeed()

    cdef object take(self, uint32_t size, bint count):
        """Read up to `size` received bytes."""
        cdef uint64_t n = 0
        cdef uint32_t before_ = self.window()
        cdef bytes chunk
        cdef list parts = []
        while self.rx and n < size:
            chunk, length = self.rx[0]
            if n + length > size:
                part = size - n
                parts.append(bytes(part) if chunk is None and not count else (chunk[:part] if chunk is not None else b""))
                self.rx[0] = (None if chunk is None else chunk[part:], length - part)
                n += part
            else:
                if not count:
                    parts.append(bytes(length) if chunk is None else chunk)
                self.rx.popleft()
                n += length
        self.rx_bytes -= n
        if n and self.state_ == ESTABLISHED and before_ < 2 * <uint32_t>self.mss <= self.window():
            self.emit(TCP_ACK, self.snd_nxt, 0, 0)          # the window has opened
        return n if count else b"".join(parts)

    cdef void wake_reader(self) noexcept:
        if self.getter is not None and (self.rx_bytes or self.fin_received):
            event, self.getter = self.getter, None
            event.succeed(self.take(self.getter_max, self.getter_count))

    # --- sending -----------------------------------------------------------------------------------

    cdef inline uint64_t position(self, uint32_t seq) noexcept:
        """Stream position of a sequence number not before snd_una."""
        return self.tx_base + (seq - self.snd_una)

    cdef inline int payload(self) noexcept:
        return self.mss - (12 if self.timestamps else 0)

    cdef void push(self) noexcept:
        """Send what windows, Nagle and the queue allow."""
        cdef uint32_t n, flight, wnd, room
        cdef uint64_t at, left
        cdef int size = self.payload()
        cdef uint32_t flags
        if self.state_ not in (ESTABLISHED, CLOSE_WAIT, FIN_WAIT_1, CLOSING, LAST_ACK):
            return
        while not self.fin_sent or before(self.snd_nxt, self.snd_max):
            at = self.position(self.snd_nxt)
            if at > self.tx_end:
                break
            left = self.tx_end - at
            flight = self.snd_nxt - self.snd_una
            wnd = self.snd_wnd if self.snd_wnd < self.cwnd else <uint32_t>self.cwnd
            if left == 0:
                if self.fin_queued and (not self.fin_sent or before(self.snd_nxt, self.snd_max)):
                    self.send_fin()
                break
            room = wnd - flight if wnd > flight else 0
            n = <uint32_t>(left if left < <uint64_t>size else size)
            if n > room:
                if self.snd_wnd == 0 or (flight == 0 and room == 0):
                    if self.deadline[TIMER_RTO] == 0:
                        self.arm(TIMER_RTO, self.rto)       # zero window: probe
                    break
                if room < n and (flight > 0 or room == 0):
                    break
                n = room
            if n < <uint32_t>size and flight > 0 and not self.nodelay and not self.fin_queued:
                break                                       # Nagle (RFC 896)
            flags = TCP_ACK | (TCP_PSH if n == left else 0)
            if self.fin_queued and n == left:
                flags |= TCP_FIN
            if before(self.snd_nxt, self.snd_max):
                self.retransmits += 1
            self.emit(flags, self.snd_nxt, at, n)
            self.bytes_out += n
            self.snd_nxt += n
            if flags & TCP_FIN:
                self.snd_nxt += 1
                self.note_fin()
            if after(self.snd_nxt, self.snd_max):
                self.snd_max = self.snd_nxt
            if self.deadline[TIMER_RTO] == 0:
                self.arm(TIMER_RTO, self.rto)
            if flags & TCP_FIN:
                break

    cdef void send_fin(self) noexcept:
        self.emit(TCP_FIN | TCP_ACK, self.snd_nxt, 0, 0)
        self.snd_nxt += 1
        if after(self.snd_nxt, self.snd_max):
            self.snd_max = self.snd_nxt
        self.note_fin()
        if self.deadline[TIMER_RTO] == 0:
            self.arm(TIMER_RTO, self.rto)

    cdef void note_fin(self) noexcept:
        self.fin_sent = True
        if self.state_ == ESTABLISHED:
            self.state_ = FIN_WAIT_1
        elif self.state_ == CLOSE_WAIT:
            self.state_ = LAST_ACK

    cdef void retransmit_first(self) noexcept:
        """Send the segment at snd_una again."""
        cdef uint64_t left = self.tx_end - self.tx_base
        cdef uint32_t n = <uint32_t>(left if left < <uint64_t>self.payload() else self.payload())
        cdef uint32_t flags = TCP_ACK
        self.retransmits += 1
        if self.fin_sent and n == left:
            flags |= TCP_FIN
        self.emit(flags, self.snd_una, self.tx_base, n)
        self.arm(TIMER_RTO, self.rto)

    cdef void timeout(self) noexcept:
        """The retransmission timer ran out (RFC 6298 5.4-5.6), or a zero window wants a probe."""
        self.backoff += 1
        if self.state_ == SYN_SENT or self.state_ == SYN_RCVD:
            if self.backoff > SYN_RETRIES:
                self.die(errno.ETIMEDOUT)
                return
            self.rto = min(self.rto * 2, RTO_MAX)
            self.retransmits += 1
            self.emit(TCP_SYN if self.state_ == SYN_SENT else TCP_SYN | TCP_ACK, self.iss, 0, 0)
            self.arm(TIMER_RTO, self.rto)
            return
        if self.backoff > RETRIES:
            self.die(errno.ETIMEDOUT)
            return
        if self.snd_nxt == self.snd_una and self.snd_wnd == 0 and self.tx_end > self.tx_base:
            self.emit(TCP_ACK, self.snd_una - 1, 0, 0)      # window probe: out of sequence, so it is answered
            self.rto = min(self.rto * 2, RTO_MAX)
            self.arm(TIMER_RTO, self.rto)
            return
        if self.snd_max == self.snd_una:
            return
        self.rto = min(self.rto * 2, RTO_MAX)
        self.loss()
        self.cwnd = self.payload()
        self.recovering = False
        self.dupacks = 0
        self.recover = self.snd_max
        self.snd_nxt = self.snd_una
        self.push()
        if self.deadline[TIMER_RTO] == 0:
            self.arm(TIMER_RTO, self.rto)

    # --- congestion control (RFC 5681, RFC 9438) ----------------------------------------------------

    cdef void loss(self) noexcept:
        """A loss event: remember where, and halve (CUBIC: beta 0.7) the threshold."""
        cdef double flight = self.snd_max - self.snd_una
        cdef double w = self.cwnd if self.cwnd < flight or flight == 0 else flight
        self.w_max = self.cwnd if self.cwnd >= self.w_max else self.cwnd * (1 + CUBIC_BETA) / 2
        self.ssthresh = max(w * CUBIC_BETA, 2.0 * self.payload())
        self.epoch = -1

    cdef void grow(self, uint32_t acked) noexcept:
        """Open the window for `acked` new bytes."""
        cdef double mss = self.payload(), now = self.ns.calendar.now, t, target
        if self.cwnd < self.ssthresh:
            self.cwnd += acked
            return
        if self.epoch < 0:
            self.epoch = now
            self.w_est = self.cwnd
            self.k = cbrt((self.w_max - self.cwnd) / mss / CUBIC_C) if self.w_max > self.cwnd else 0.0
            if self.w_max < self.cwnd:
                self.w_max = self.cwnd
        t = now - self.epoch + self.srtt - self.k
        target = self.w_max + CUBIC_C * t * t * t * mss
        self.w_est += 3 * (1 - CUBIC_BETA) / (1 + CUBIC_BETA) * acked / self.cwnd * mss
        if target > 1.5 * self.cwnd:
            target = 1.5 * self.cwnd
        if target < self.w_est:
            target = self.w_est
        if target > self.cwnd:
            self.cwnd += (target - self.cwnd) / self.cwnd * acked

    cdef void sample_rtt(self, double rtt) noexcept:
        """RFC 6298 section 2."""
        if self.srtt == 0:
            self.srtt = rtt
            self.rttvar = rtt / 2
        else:
            self.rttvar += (abs(self.srtt - rtt) - self.rttvar) / 4
            self.srtt += (rtt - self.srtt) / 8
        self.rto = min(max(self.srtt + max(4 * self.rttvar, RTO_MIN), RTO_MIN), RTO_MAX)

    # --- receiving ---------------------------------------------------------------------------------

    cdef void packet(self, Frame* f, uint32_t l4) noexcept:
        self.segments_in += 1
        self.segment(f, l4)
        frame_free(f)

    cdef void read_options(self, const uint8_t* t, uint32_t* tsval, uint32_t* tsecr, bint* has_ts) noexcept:
        cdef int left = (t[12] >> 4) * 4 - 20, size
        cdef const uint8_t* o = t + 20
        cdef bint syn = (t[13] & TCP_SYN) != 0
        cdef int scale = -1
        has_ts[0] = False
        while left > 0 and o[0] != 0:
            if o[0] == 1:
                o += 1
                left -= 1
                continue
            if left < 2 or o[1] < 2 or o[1] > left:
                break
            size = o[1]
            if o[0] == 2 and size == 4 and syn:
                if be16(o + 2) < self.mss:
                    self.mss = max(be16(o + 2), 64)
            elif o[0] == 3 and size == 3 and syn:
                scale = o[2] if o[2] < 14 else 14
            elif o[0] == 8 and size == 10:
                has_ts[0] = True
                tsval[0] = be32(o + 2)
                tsecr[0] = be32(o + 6)
            o += size
            left -= size
        if syn:
            self.scaling = scale >= 0
            self.snd_scale = scale if scale >= 0 else 0
            self.timestamps = has_ts[0]

    cdef void segment(self, Frame* f, uint32_t l4) noexcept:
        """RFC 9293 3.10.7, in its order."""
        cdef const uint8_t* t = f.data + l4
        cdef uint32_t flags = t[13], seq = be32(t + 4), ack = be32(t + 8)
        cdef uint32_t header = (t[12] >> 4) * 4
        cdef uint32_t n = f.len - l4 - header, wnd = be16(t + 14), tsval = 0, tsecr = 0, end
        cdef bint has_ts = False, ok
        self.read_options(t, &tsval, &tsecr, &has_ts)
        if self.state_ == SYN_SENT:
            self.in_syn_sent(flags, seq, ack, wnd, tsval, tsecr, has_ts)
            return
        if self.state_ == CLOSED:
            return
        if self.state_ == SYN_RCVD and flags & TCP_SYN and seq == self.irs:
            self.emit(TCP_SYN | TCP_ACK, self.iss, 0, 0)    # our SYN-ACK was lost
            return
        # is any of it in the window?
        end = seq + n + (1 if flags & TCP_FIN else 0)
        if end == seq:
            ok = not before(seq, self.rcv_nxt) and not after(seq, self.rcv_edge)
        else:
            ok = after(end, self.rcv_nxt) and before(seq, self.rcv_edge)
        if not ok:
            if not flags & TCP_RST:
                self.emit(TCP_ACK, self.snd_nxt, 0, 0)
            if self.state_ == TIME_WAIT and flags & TCP_FIN:
                self.arm(TIMER_RTO, TIME_WAIT_LENGTH)
            if not flags & TCP_RST and flags & TCP_ACK and seq == self.rcv_nxt - 1 and n == 0:
                self.acknowledge(ack, wnd, seq, 0, tsecr, has_ts)
            return
        if flags & TCP_RST:
            if seq == self.rcv_nxt:
                self.die(errno.ECONNREFUSED if self.state_ == SYN_RCVD else errno.ECONNRESET)
            else:
                self.emit(TCP_ACK, self.snd_nxt, 0, 0)      # RFC 5961 challenge
            return
        if flags & TCP_SYN:
            self.emit(TCP_ACK, self.snd_nxt, 0, 0)
            return
        if not flags & TCP_ACK:
            return
        if has_ts and not after(seq, self.rcv_nxt):
            self.ts_recent = tsval
        if self.state_ == SYN_RCVD:
            if before(ack, self.snd_una) or after(ack, self.snd_max):
                self.ns.send_reset(f)
                return
            self.establish(wnd << self.snd_scale, seq)
        self.acknowledge(ack, wnd, seq, n, tsecr, has_ts)
        if self.state_ == CLOSED:
            return
        if n and self.state_ in (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2):
            self.accept_data(f, l4 + header, seq, n, flags)
        elif flags & TCP_FIN:
            self.accept_data(f, l4 + header, seq, 0, flags)
        if self.state_ != CLOSED:
            self.push()

    cdef void in_syn_sent(self, uint32_t flags, uint32_t seq, uint32_t ack, uint32_t wnd, uint32_t tsval, uint32_t tsecr,
                          bint has_ts) noexcept:
        if flags & TCP_ACK and ack != self.iss + 1:
            if not flags & TCP_RST:
                self.emit(TCP_RST, ack, 0, 0)
            return
        if flags & TCP_RST:
            if flags & TCP_ACK:
                self.die(errno.ECONNREFUSED)
            return
        if not flags & TCP_SYN:
            return
        self.irs = seq
        self.rcv_nxt = seq + 1
        self.rcv_edge = self.rcv_nxt
        self.ts_recent = tsval
        if flags & TCP_ACK:
            self.snd_una = ack
            if has_ts and not self.backoff:
                self.sample_rtt(max((self.ts_now() - tsecr) * 1e-3, 1e-3))
            self.establish(wnd, seq)
            self.emit(TCP_ACK, self.snd_nxt, 0, 0)
            self.push()
        else:
            self.state_ = SYN_RCVD                          # simultaneous open
            self.emit(TCP_SYN | TCP_ACK, self.iss, 0, 0)

    cdef void establish(self, uint32_t wnd, uint32_t seq) noexcept:
        cdef TcpListener parent = self.parent
        self.state_ = ESTABLISHED
        self.snd_una = self.iss + 1
        self.snd_wnd = wnd
        self.snd_wl1 = seq
        self.snd_wl2 = self.snd_una
        self.cwnd = 10 * self.payload()
        self.epoch = -1
        self.backoff = 0
        self.deadline[TIMER_RTO] = 0
        if self.connecting is not None:
            event, self.connecting = self.connecting, None
            event.succeed(self)
        if parent is not None:
            self.parent = None
            parent.ready(self)

    cdef void acknowledge(self, uint32_t ack, uint32_t wnd, uint32_t seq, uint32_t n, uint32_t tsecr, bint has_ts) noexcept:
        """The ACK field: release, measure, grow, recover, move the state on."""
        cdef uint32_t acked
        cdef bint fin_acked
        cdef double rtt
        if after(ack, self.snd_max):
            self.emit(TCP_ACK, self.snd_nxt, 0, 0)
            return
        if before(ack, self.snd_una):
            return
        wnd <<= self.snd_scale
        if ack == self.snd_una:
            if (n == 0 and wnd == self.snd_wnd and self.snd_max != self.snd_una and self.state_ != TIME_WAIT):
                self.duplicate_ack()
        else:
            acked = ack - self.snd_una
            if has_ts and tsecr:
                rtt = (self.ts_now() - tsecr) * 1e-3
                if rtt >= 0 and rtt < 1e6:
                    self.sample_rtt(max(rtt, 1e-3))
            self.backoff = 0
            self.release(acked)
            self.snd_una = ack
            if before(self.snd_nxt, ack):
                self.snd_nxt = ack
            if self.recovering:
                if before(ack, self.recover):
                    self.cwnd = max(self.cwnd - acked + self.payload(), <double>self.payload())
                    self.retransmit_first()                 # NewReno: a partial ACK names the next hole
                else:
                    self.recovering = False
                    self.cwnd = self.ssthresh
                    self.dupacks = 0
            else:
                self.dupacks = 0
                self.grow(acked)
            if self.snd_una == self.snd_max:
                self.deadline[TIMER_RTO] = 0
            else:
                self.arm(TIMER_RTO, self.rto)
            fin_acked = self.fin_sent and self.snd_una == self.snd_max
            if fin_acked:
                if self.state_ == FIN_WAIT_1:
                    self.state_ = FIN_WAIT_2
                elif self.state_ == CLOSING:
                    self.enter_time_wait()
                elif self.state_ == LAST_ACK:
                    self.finish()
                if self.closing is not None and not self.closing.triggered:
                    self.closing.succeed()
        if before(self.snd_wl1, seq) or (self.snd_wl1 == seq and not after(self.snd_wl2, ack)):
            if self.snd_wnd == 0 and wnd:
                self.backoff = 0
                self.deadline[TIMER_RTO] = 0
            self.snd_wnd = wnd
            self.snd_wl1 = seq
            self.snd_wl2 = ack

    cdef void duplicate_ack(self) noexcept:
        self.dupacks += 1
        if self.recovering:
            self.cwnd += self.payload()
        elif self.dupacks == 3 and not before(self.snd_una, self.recover):
            self.loss()
            self.recover = self.snd_max
            self.recovering = True
            self.cwnd = self.ssthresh + 3 * self.payload()
            self.retransmit_first()

    cdef void release(self, uint32_t acked) noexcept:
        """Acknowledged bytes leave the send queue."""
        cdef uint64_t left = self.tx_end - self.tx_base
        cdef uint64_t n = acked if acked < left else left, length
        self.tx_base += n
        while n:
            chunk, length = self.tx[0]
            if length <= n:
                self.tx.popleft()
                n -= length
            else:
                self.tx[0] = (None if chunk is None else chunk[n:], length - n)
                n = 0
        while self.tx_waiters and self.tx_end - self.tx_base <= self.sndbuf:
            event, size = self.tx_waiters.popleft()
            event.succeed(size)

    cdef void accept_data(self, Frame* f, uint32_t off, uint32_t seq, uint32_t n, uint32_t flags) noexcept:
        """In order to the reader, out of order kept; what was seen before is cut off."""
        cdef bytes data = None
        cdef uint32_t skip
        cdef bint fin = (flags & TCP_FIN) != 0
        if before(seq, self.rcv_nxt):
            skip = self.rcv_nxt - seq
            if skip > n:
                skip = n
            seq += skip
            off += skip
            n -= skip
        if n and f.have > off:
            data = frame_bytes(f)[off:off + n]
        if seq != self.rcv_nxt:
            self.ooo.append((seq, n, data, fin))
            self.emit(TCP_ACK, self.snd_nxt, 0, 0)          # duplicate ACK at once (RFC 5681 4.2)
            return
        self.in_order(n, data, fin)
        while self.ooo:
            for i, (s, m, d, fn) in enumerate(self.ooo):
                if not after(s, self.rcv_nxt):
                    del self.ooo[i]
                    skip = self.rcv_nxt - <uint32_t>s
                    if skip < m or (fn and not self.fin_received):
                        self.in_order(m - min(skip, m), None if d is None else d[skip:], fn)
                    flags |= TCP_FIN                        # a hole was filled: ACK at once
                    break
            else:
                break
        if fin or flags & TCP_FIN or self.ooo or self.unacked_bytes >= 2 * <uint32_t>self.payload():
            self.emit(TCP_ACK, self.snd_nxt, 0, 0)
        elif self.deadline[TIMER_DELACK] == 0:
            self.arm(TIMER_DELACK, DELACK)
        self.wake_reader()

    cdef void in_order(self, uint32_t n, bytes data, bint fin) noexcept:
        if n:
            self.rcv_nxt += n
            self.bytes_in += n
            self.unacked_bytes += n
            self.rx.append((data, n))
            self.rx_bytes += n
        if fin and not self.fin_received:
            self.fin_received = True
            self.rcv_nxt += 1
            if self.state_ == ESTABLISHED:
                self.state_ = CLOSE_WAIT
            elif self.state_ == FIN_WAIT_1:
                self.state_ = CLOSING
            elif self.state_ == FIN_WAIT_2:
                self.enter_time_wait()

    cdef void enter_time_wait(self) noexcept:
        self.state_ = TIME_WAIT
        self.arm(TIMER_RTO, TIME_WAIT_LENGTH)

    cdef void error(self, int kind, int code, uint32_t info) noexcept:
        """ICMP about this connection: hard only while connecting (RFC 5927); 3/4 lowers the MSS (RFC 1191)."""
        cdef int number = errno_of_icmp(kind, code)
        if kind == 3 and code == 4:
            if 68 <= (info & 0xFFFF) < <uint32_t>self.mss + 40:
                self.mss = (info & 0xFFFF) - 40
                if self.state_ >= ESTABLISHED:
                    self.snd_nxt = self.snd_una
                    self.push()
            return
        if number and self.state_ == SYN_SENT:
            self.die(number)


cdef class TcpListener(Endpoint):
    """A listening socket.

    Parameters
    ----------
    backlog : int
        Established connections that may wait for `accept`; as many again may be half open.
    """
    cdef Namespace ns
    cdef object queue
    cdef object getter
    cdef readonly set half_open
    cdef readonly int backlog
    cdef readonly uint64_t overflows
    cdef dict options

    def __init__(self, Namespace namespace, int port, int backlog=4096, **options):
        if not 1 <= port <= 65535:
            raise ValueError(f"port {port} is out of range 1-65535")
        self.ns = namespace
        self.protocol = IPPROTO_TCP
        self.local_port = port
        self.backlog = backlog
        self.queue = deque()
        self.half_open = set()
        self.options = options
        namespace.register(self)

    def accept(self):
        """Event of the next connection, a TcpSocket."""
        event = simpy.Event(self.ns.env)
        if self.queue:
            event.succeed(self.queue.popleft())
        else:
            self.getter = event
        return event

    def close(self):
        """Stop listening."""
        self.ns.unregister(self)

    cdef void ready(self, TcpSocket sock) noexcept:
        self.half_open.discard(sock)
        if self.getter is not None:
            event, self.getter = self.getter, None
            event.succeed(sock)
        else:
            self.queue.append(sock)

    cdef void packet(self, Frame* f, uint32_t l4) noexcept:
        """LISTEN: a SYN makes a half-open connection, anything else a reset."""
        cdef const uint8_t* t = f.data + l4
        cdef TcpSocket s
        cdef uint32_t tsval = 0, tsecr = 0
        cdef bint has_ts = False
        if t[13] & TCP_RST:
            frame_free(f)
            return
        if t[13] & TCP_ACK or not t[13] & TCP_SYN:
            self.ns.send_reset(f)
            frame_free(f)
            return
        if len(self.half_open) >= self.backlog or len(self.queue) >= self.backlog:
            self.overflows += 1
            frame_free(f)
            return
        try:
            s = TcpSocket(self.ns, self.local_port, **self.options)
            s.local_ip = ip_dst(f.data + IP)
            s.remote_ip = ip_src(f.data + IP)
            s.remote_port = be16(t)
            s.parent = self
            s.start(SYN_RCVD)
            s.read_options(t, &tsval, &tsecr, &has_ts)
            s.irs = be32(t + 4)
            s.rcv_nxt = s.irs + 1
            s.rcv_edge = s.rcv_nxt
            s.ts_recent = tsval
            self.ns.register(s)
            self.half_open.add(s)
            s.emit(TCP_SYN | TCP_ACK, s.iss, 0, 0)
            s.arm(TIMER_RTO, s.rto)
        except Exception as error:
            self.ns.calendar.fail(error)
        frame_free(f)
