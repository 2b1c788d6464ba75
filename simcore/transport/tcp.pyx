"""TCP (RFC 9293) as a sans-IO endpoint with a sockets interface for SimPy processes.

Here: handshake, window scaling and timestamps (RFC 7323), SACK (RFC 2018, 2883) and ECN (RFC 3168, 8257) as the receiver has them,
delayed ACK, keepalive, path MTU discovery by ICMP (RFC 1191), challenge ACKs (RFC 5961), orderly and abortive close, TIME_WAIT.
What is sent and sent again, and when, is in `sender`; congestion control in `congestion`, the sender's scoreboard in `flight`, the
receiver's ranges in `reassembly` and its memory in `rcvbuf`. Payload is real bytes, or a count of zero bytes that costs no memory.
"""
import errno
import ipaddress
from collections import deque

import simpy

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from natfast.checksum cimport fold, pseudo_sum, sum_bytes
from natfast.headers cimport (IPPROTO_TCP, TCP_ACK, TCP_CWR, TCP_ECE, TCP_FIN, TCP_RST, TCP_SYN, after, be16, be32, before, ip_dst,
                              ip_src, put16, put32)
from natfast.siphash cimport siphash13
from simcore.engine.frame cimport CHECKSUM_RIGHT, IP, L4, Frame, frame_bytes, frame_free
from simcore.engine.timer cimport TIMER_AGAIN, TIMER_DUE, timer_cancel, timer_fire
from simcore.net.endpoints cimport Endpoint
from simcore.net.namespace cimport Namespace
from simcore.net.sysctl import numbers
from simcore.transport.congestion cimport make
from simcore.transport.errors cimport errno_of_icmp, os_error
from simcore.transport.flight cimport SACKED, Sample, flight_free, flight_lose
from simcore.transport.options cimport TIMESTAMPS, Options, options_emit, options_emit_syn, options_parse
from simcore.transport.reassembly cimport Range, Reassembly
from simcore.transport.rcvbuf cimport (rcvbuf_arrived, rcvbuf_echoed, rcvbuf_first, rcvbuf_fix, rcvbuf_grow, rcvbuf_passed, rcvbuf_room,
                                       rcvbuf_round_is_over, rcvbuf_scale, rcvbuf_start, rcvbuf_tune)
from simcore.transport.tcb cimport (CLOSED, SYN_SENT, SYN_RCVD, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK,
                                    TIME_WAIT, CWR, HELD_CWND, HELD_RWND, HELD_SNDBUF, HELD_IDLE, RTO, DELACK, PROBE, PACE, KEEP,
                                    TIMERS, INITIAL_WINDOW, Waiters, ATO, INFINITE)
from simcore.transport.tcb import RECOVERY_STATES, STATES

cdef enum:
    ECT0 = 2
    CE = 3

cdef enum:
    KEEP_PROBES = 127               # at most (Linux's MAX_TCP_KEEPCNT)
    QUICK_ACKS = 16                 # segments acknowledged one by one at the start

cdef double RTO_FIRST = 1.0
cdef double TIME_WAIT_LENGTH = 60.0
cdef double TICK = 1e-6             # a timer this early is not put off again: clocks are floating-point numbers


cdef class App(Handler):
    cdef void connected(self, TcpSocket s) noexcept:
        pass

    cdef void data(self, TcpSocket s) noexcept:
        s.read_count(0xFFFFFFFFU)

    cdef void ended(self, TcpSocket s) noexcept:
        s.finish_sending()

    cdef void gone(self, TcpSocket s, int number) noexcept:
        pass


cdef class TcpSocket(Sender):
    """A TCP connection.

    Parameters
    ----------
    namespace : Namespace
        Its sysctls are the defaults of what follows (`net.ipv4.tcp_...`).
    port : int
        Local port; 0 for an ephemeral one.
    rcvbuf : int, optional
        Bytes that the receive window offers at most, and from the start; without, it grows with what is read, as tcp_rmem says.
    sndbuf : int, optional
        Bytes that `send` takes before it waits; as the last number of tcp_wmem says if not given.
    nodelay : bool
        Switch Nagle's algorithm off.
    congestion : {"cubic", "linux-cubic", "reno", "dctcp", "bbr"}, optional
    ecn : bool, optional
        Ask for ECN when connecting (tcp_ecn = 1; 2, the default, only grants it).
    pacing : bool
        Spread a window over the round trip in bursts of about a millisecond, as Linux paces; BBR always does.
    keepalive : tuple of (float, float, int), optional
        SO_KEEPALIVE: seconds idle before the first probe, between probes, and how many.
    discard : bool
        Read and forget what arrives, as a sink does; `recv` then only tells the end of the stream.
    app : App, optional
        A compiled application that is told what happens, instead of SimPy events.

    Attributes
    ----------
    cwnd, ssthresh : float
        Bytes.
    srtt, rttvar, rto, min_rtt : float
        Seconds.
    retransmits : int
        Segments sent again.
    recovery : str
        Open, Disorder, CWR, Recovery or Loss.
    history : list of tuple or None
        After `record()`: (time, cwnd, ssthresh, srtt, rto, bytes in the network, recovery) at every ACK.
    """

    def __init__(self, Namespace namespace, int port=0, rcvbuf=None, sndbuf=None, bint nodelay=False, congestion=None,
                 ecn=None, bint pacing=False, keepalive=None, bint discard=False, App app=None):
        cdef dict sysctl = namespace.sysctl
        cdef tuple memory
        if not 0 <= port <= 65535:
            raise ValueError(f"port {port} is out of range 0-65535")
        self.ns = namespace
        self.protocol = IPPROTO_TCP
        self.local_port = port
        if rcvbuf is None:
            memory = numbers(sysctl["net.ipv4.tcp_rmem"])
            rcvbuf_tune(&self.rcv, memory[1], memory[2], bool(sysctl["net.ipv4.tcp_moderate_rcvbuf"]))
        else:
            rcvbuf_fix(&self.rcv, rcvbuf)
        self.sndbuf = numbers(sysctl["net.ipv4.tcp_wmem"])[2] if sndbuf is None else sndbuf
        self.nodelay = nodelay
        self.discard = discard
        self.app = app
        self.driven = app is not None
        self.mss = 1460
        self.rto = RTO_FIRST
        self.w.ssthresh = INFINITE
        self.w.min_rtt = -1
        self.cc = make(congestion if congestion is not None else <str>sysctl["net.ipv4.tcp_congestion_control"], sysctl)
        self.paced = pacing or self.cc.models
        self.ecn_wanted = int(sysctl["net.ipv4.tcp_ecn"]) if ecn is None else 1 if ecn else 0
        if self.cc.accurate_ecn and ecn is None:
            self.ecn_wanted = 1
        self.sack = bool(sysctl["net.ipv4.tcp_sack"])
        self.timestamps = bool(sysctl["net.ipv4.tcp_timestamps"])
        self.scaling = bool(sysctl["net.ipv4.tcp_window_scaling"])
        self.restart = bool(sysctl["net.ipv4.tcp_slow_start_after_idle"])
        self.probing = int(sysctl["net.ipv4.tcp_mtu_probing"])
        self.retries = int(sysctl["net.ipv4.tcp_retries2"])
        self.syn_retries = int(sysctl["net.ipv4.tcp_syn_retries"])
        if keepalive is not None:
            self.keep_idle, self.keep_interval, probes = keepalive
            if self.keep_idle <= 0 or self.keep_interval <= 0 or not 1 <= probes <= KEEP_PROBES:
                raise ValueError("keepalive: expected seconds idle and between probes, both positive, and a number of probes from 1 to "
                                 f"{KEEP_PROBES}")
            self.keep_probes = probes

    @property
    def state(self):
        """RFC 9293's name of the connection's state."""
        return STATES[self.state_]

    @property
    def recovery(self):
        """Where the sender stands with losses."""
        return RECOVERY_STATES[self.ca]

    @property
    def congestion(self):
        """Name of the congestion control."""
        return self.cc.name

    @property
    def cwnd(self):
        """Congestion window, bytes."""
        return self.w.cwnd

    @property
    def ssthresh(self):
        """Slow-start threshold, bytes."""
        return self.w.ssthresh

    @property
    def srtt(self):
        """Smoothed round-trip time, s."""
        return self.w.srtt

    @property
    def min_rtt(self):
        """Least round-trip time seen, s; -1 before the first."""
        return self.flight.min_rtt

    @property
    def inflight(self):
        """Bytes sent and not acknowledged."""
        return self.snd_nxt - self.snd_una

    @property
    def bytes_acked(self):
        """Payload bytes that the other end has acknowledged, as `ss -i` has them."""
        cdef uint32_t unacked = self.snd_nxt - self.snd_una
        return self.bytes_out - (unacked - (1 if self.fin_sent else 0) if unacked else 0) if self.bytes_out else 0

    @property
    def local(self):
        """(address, port) of this end."""
        return str(ipaddress.IPv4Address(self.local_ip)), self.local_port

    @property
    def remote(self):
        """(address, port) of the other end."""
        return str(ipaddress.IPv4Address(self.remote_ip)), self.remote_port

    @property
    def limited(self):
        """Seconds with something to send or unacknowledged (`busy`), and of them those in which the congestion window (`cwnd`),
        the receiver's (`rwnd`) or the send buffer (`sndbuf`) kept more from being sent; the last two as `ss -i` has them.
        """
        cdef list held = [self.held[i] for i in range(HELD_IDLE)]
        if self.held_by != HELD_IDLE:
            held[self.held_by] += self.ns.calendar.now - self.held_at
        return {"busy": sum(held), "cwnd": held[HELD_CWND], "rwnd": held[HELD_RWND], "sndbuf": held[HELD_SNDBUF]}

    def record(self):
        """Keep a row of `history` at every ACK from now on."""
        self.history = []

    # --- the sockets interface ---------------------------------------------------------------------

    def connect(self, str address, int port):
        """Event of the connection being established; fails with OSError (ECONNREFUSED, ETIMEDOUT, ...). None for an App, which is told."""
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
        self.ns.sockets.register(self)
        if not self.driven:
            self.waits().connecting = simpy.Event(self.ns.env)
        self.start(SYN_SENT)
        self.ecn = self.ecn_wanted == 1
        self.emit(self.syn_flags(), self.iss, 0, 0)
        self.arm(RTO, self.rto)
        return None if self.driven else self.waiters.connecting

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
            if not isinstance(data, int):
                if self.tx is None:
                    self.tx = deque()
                self.tx.append((self.tx_end, bytes(data)))
            self.tx_end += n
        if self.tx_end - self.tx_base <= self.sndbuf:
            event.succeed(n)
        else:
            if self.waits().senders is None:
                self.waiters.senders = deque()
            self.waiters.senders.append((event, n))
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
            self.waits().getter = event
            self.waiters.getter_max = size
            self.waiters.getter_count = count
        return event

    def close(self):
        """Send what is queued, then FIN; the event comes when the other side has acknowledged it.

        What the other side still sends can be read, as after shutdown(SHUT_WR). If nobody waits for it, an other side that is silent
        for tcp_fin_timeout is given up.
        """
        event = simpy.Event(self.ns.env)
        if self.state_ in (CLOSED, SYN_SENT) or self.failure:
            self.finish()
            event.succeed()
        elif self.fin_acked():
            event.succeed()
        else:
            self.waits().closing = event
            if not self.fin_queued:
                self.fin_queued = True
                self.push()
        return event

    def abort(self):
        """Reset the connection."""
        if self.state_ in (SYN_RCVD, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT):
            self.emit(TCP_RST | TCP_ACK, self.snd_nxt, 0, 0)
        self.die(errno.ECONNABORTED)

    # --- the same for compiled applications --------------------------------------------------------

    cdef void write(self, object data, bint more=False) noexcept:
        """Queue bytes or a number of zero bytes (`more` follow at once); what the connection cannot take any more is forgotten."""
        cdef uint64_t n = data if isinstance(data, int) else len(data)
        if self.failure or self.fin_queued or self.state_ not in (ESTABLISHED, CLOSE_WAIT, SYN_SENT, SYN_RCVD):
            return
        if not isinstance(data, int):
            if self.tx is None:
                self.tx = deque()
            self.tx.append((self.tx_end, data))
        self.tx_end += n
        if not more:
            self.push()

    cdef bytes read(self, uint32_t size):
        return self.take(size, False)

    cdef uint64_t read_count(self, uint32_t size) noexcept:
        return self.take(size, True)

    cdef void finish_sending(self) noexcept:
        """FIN after what is queued."""
        if self.state_ != CLOSED and not self.fin_queued:
            self.fin_queued = True
            self.push()

    cdef Waiters waits(self):
        """Those of its processes."""
        if self.waiters is None:
            self.waiters = Waiters()
        return self.waiters

    # --- helpers -----------------------------------------------------------------------------------

    cdef double fin_timeout(self) noexcept:
        return float(self.ns.sysctl["net.ipv4.tcp_fin_timeout"])

    cdef void start(self, int state) noexcept:
        cdef double now = self.ns.calendar.now
        self.state_ = state
        self.iss = <uint32_t>(siphash13((<uint64_t>self.remote_ip << 32) | self.local_ip,
                                        (<uint64_t>self.remote_port << 16) | self.local_port, 0x5EED, 0x15) +
                              <uint64_t>(now * 250000.0))          # RFC 6528
        self.sent_at = now
        self.snd_una = self.iss
        self.snd_nxt = self.iss + 1
        self.rcv_scale = rcvbuf_scale(&self.rcv)

    cdef uint32_t widest(self) noexcept:
        """The most that can be offered: all room, if the header's 16 bits can say so."""
        return <uint32_t>min(<uint64_t>self.rcv.clamp, <uint64_t>65535 << (self.rcv_scale if self.scaling else 0))

    cdef uint32_t window(self) noexcept:
        """What we can take: never less than was offered before (RFC 9293 3.8.6), and rather nothing than a little (3.8.6.2.2)."""
        cdef uint32_t most = self.widest()
        cdef uint32_t room = min(rcvbuf_room(&self.rcv, self.rx_bytes), most)
        if room < most >> 1 and (room < most >> 4 or room < <uint32_t>self.mss):
            room = 0
        room = min(room, self.rcv.offered)
        if before(self.rcv_nxt + room, self.rcv_edge):
            room = self.rcv_edge - self.rcv_nxt
        return room

    cdef uint32_t first_window(self, bint passive) noexcept:
        """What our SYN offers, counted in segments as they will be."""
        return rcvbuf_first(&self.rcv, (self.mss_offered if self.mss_offered else self.mss) - (TIMESTAMPS if passive and self.timestamps else 0))

    cdef int syn_options(self, uint8_t* o, uint32_t flags) noexcept:
        return options_emit_syn(o, self.mss_offered if self.mss_offered else self.mss, self.sack, self.timestamps, self.ts_now(),
                                self.ts_recent if flags & TCP_ACK else 0, self.rcv_scale if self.scaling else -1)

    cdef int options(self, uint8_t* o) noexcept:
        """Timestamps and SACK blocks of an established connection."""
        cdef Range block[4]
        cdef int m = self.sack_blocks(block)
        if m:
            self.ooo.dsack.start = self.ooo.dsack.end           # told once
        return options_emit(o, self.timestamps, self.ts_now(), self.ts_recent, block, m)

    cdef void emit(self, uint32_t flags, uint32_t seq, uint64_t at, uint32_t n) noexcept:
        """One segment with `n` bytes of the stream from position `at` on."""
        cdef uint32_t options = 0, header, window = 0, tos = 0
        cdef int scale
        cdef uint8_t o[40]
        cdef bytes data = None
        cdef Frame* f
        cdef uint8_t* t
        cdef uint32_t have
        if flags & TCP_SYN:
            options = self.syn_options(o, flags)
            window = min(self.first_window(flags & TCP_ACK), <uint32_t>65535)
        elif not flags & TCP_RST:
            options = self.options(o)
            if self.ecn:
                if self.ece_owed:
                    flags |= TCP_ECE
                if n and (not before(seq, self.snd_nxt) or self.cc.accurate_ecn):
                    tos = ECT0                              # not on retransmissions (RFC 3168 6.1.5)
                    if self.cwr_owed:
                        flags |= TCP_CWR
                        self.cwr_owed = False
                elif self.cc.accurate_ecn:
                    tos = ECT0
        if n and self.tx is not None:
            data = self.stream(at, n)
        header = 20 + options
        have = header + (n if data is not None else 0)
        f = self.ns.new_packet(have, header + n, IPPROTO_TCP, self.local_ip, self.remote_ip, tos, 0, 0x4000)
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
            scale = self.rcv_scale if self.scaling else 0
            window = (self.window() + (<uint32_t>1 << scale) - 1) >> scale      # up, as what was offered once is not taken back
            put16(t + 14, window)
            self.rcv_edge = self.rcv_nxt + (window << scale)
        put32(t + 16, 0)
        memcpy(t + 20, o, options)
        if data is not None:
            memcpy(t + header, <const char*>data, n)
        put16(t + 16, <uint16_t>~fold(sum_bytes(t, have) + pseudo_sum(f.data + IP, IPPROTO_TCP, header + n)))
        f.checksum_ok = CHECKSUM_RIGHT
        f.mark = self.mark
        if flags & TCP_ACK:
            self.unacked_bytes = 0
            timer_cancel(&self.timer[DELACK])
            if self.quick:
                self.quick -= 1
        self.ns.local_out(f)

    # --- timers ------------------------------------------------------------------------------------

    cdef void fire(self, uint64_t token) noexcept:
        cdef int timer = <int>token
        cdef int what = timer_fire(&self.timer[timer], self.ns.calendar.now)
        cdef TcpSocket keep = self
        if what == TIMER_AGAIN:
            self.ns.calendar.at(self.timer[timer].event, self, timer)
            return
        self.events -= 1
        if self.events == 0:
            self.ns.sockets.waiting.discard(self)
        if what != TIMER_DUE or self.state_ == CLOSED:
            return
        if timer == DELACK:
            self.emit(TCP_ACK, self.snd_nxt, 0, 0)
        elif timer == PACE:
            self.push()
        elif timer == PROBE:
            self.probe()
        elif timer == KEEP:
            self.keep_alive()
        elif self.state_ == TIME_WAIT:
            self.finish()
        else:
            self.timeout()

    cdef void finish(self) noexcept:
        """The connection is over: forget it."""
        cdef TcpListener parent = <TcpListener>self.parent
        cdef int i
        self.is_held(HELD_IDLE)
        self.state_ = CLOSED
        for i in range(TIMERS):
            timer_cancel(&self.timer[i])
        if self.events:
            self.ns.sockets.waiting.add(self)
        self.ns.sockets.unregister(self)
        if parent is not None:
            parent.half_open.discard(self)
            self.parent = None
        flight_free(&self.flight)
        if self.app is not None:
            app, self.app = self.app, None
            (<App>app).gone(self, self.failure)

    cdef void die(self, int number) noexcept:
        """The connection failed: everyone who waits is told."""
        self.failure = number
        self.finish()
        if self.waiters is not None:
            w, self.waiters = self.waiters, None
            for event in (w.connecting, w.getter, *[event for event, _ in w.senders or ()]):
                if event is not None and not event.triggered:
                    event.fail(os_error(number))
            if w.closing is not None and not w.closing.triggered:
                w.closing.succeed()

    cdef void keep_alive(self) noexcept:
        """Nothing has been heard for a while (RFC 9293 3.8.4)."""
        cdef double idle = self.ns.calendar.now - self.heard_at
        if self.state_ == FIN_WAIT_2:                       # the other end is silent: do not wait for its FIN for ever
            if idle < self.fin_timeout() - TICK:
                self.arm(KEEP, self.fin_timeout() - idle)
            elif self.waiters is None or self.waiters.getter is None:
                # but for who is still reading: Linux times out only what is closed both ways
                self.die(errno.ETIMEDOUT)
            return
        if self.keep_probes == 0:
            return
        if idle < self.keep_idle - TICK and self.keep_sent == 0 or self.flight.outstanding:
            self.arm(KEEP, max(self.keep_idle - idle, self.keep_interval if self.flight.outstanding else 0.0))
            return
        if self.keep_sent >= self.keep_probes:
            self.emit(TCP_RST | TCP_ACK, self.snd_nxt, 0, 0)
            self.die(errno.ETIMEDOUT)
            return
        self.keep_sent += 1
        self.emit(TCP_ACK, self.snd_nxt - 1, 0, 0)
        self.arm(KEEP, self.keep_interval)

    # --- reading -----------------------------------------------------------------------------------

    cdef object take(self, uint32_t size, bint count):
        """Read up to `size` received bytes."""
        cdef uint64_t n = self.rx_bytes if self.rx_bytes < size else size, length
        cdef uint64_t left = n, part
        cdef uint32_t offered = self.rcv_edge - self.rcv_nxt, now
        cdef bytes chunk
        cdef list parts = []
        while left and self.rx:
            length, chunk = self.rx[0]
            part = length if length <= left else left
            if not count:
                parts.append(bytes(part) if chunk is None else chunk if part == length else chunk[:part])
            if part == length:
                self.rx.popleft()
            else:
                self.rx[0] = (length - part, None if chunk is None else chunk[part:])
            left -= part
        if not self.rx:
            self.rx = None                          # an empty deque takes 760 bytes: most connections wait
        if left:                                    # zeros at the end are only counted
            self.rx_zeros -= left
            if not count:
                parts.append(bytes(left))
        self.rx_bytes -= n
        self.has_been_read()
        if n and (self.state_ == ESTABLISHED or self.state_ == FIN_WAIT_1 or self.state_ == FIN_WAIT_2) and offered <= self.widest() >> 1:
            now = self.window()
            if now and now >= 2 * offered:                  # has opened by much, as Linux takes it
                self.emit(TCP_ACK, self.snd_nxt, 0, 0)
        return n if count else parts[0] if len(parts) == 1 else b"".join(parts)

    cdef void has_been_read(self) noexcept:
        """The reader has taken all but `rx_bytes`: a round trip later it is known how fast he is."""
        cdef double now = self.ns.calendar.now
        cdef uint32_t beyond = 0
        if rcvbuf_round_is_over(&self.rcv, now):
            if self.ooo is not None and self.ooo.n:
                beyond = self.ooo.range[self.ooo.n - 1].end - self.rcv_nxt
            rcvbuf_grow(&self.rcv, self.rcv_nxt - <uint32_t>self.rx_bytes, <uint32_t>self.rx_bytes, beyond, now)

    cdef void keep(self, uint32_t n, bytes data) noexcept:
        """Bytes for the reader; runs of zeros are only counted."""
        self.bytes_in += n
        if self.discard:
            return
        self.rx_bytes += n
        if data is None:
            self.rx_zeros += n
            return
        if self.rx is None:
            self.rx = deque()
        if self.rx_zeros:
            self.rx.append((self.rx_zeros, None))
            self.rx_zeros = 0
        self.rx.append((n, data))

    cdef void wake_reader(self) noexcept:
        if self.discard:
            self.has_been_read()
        if self.app is not None:
            if self.rx_bytes:
                (<App>self.app).data(self)
            if self.fin_received and self.app is not None:
                (<App>self.app).ended(self)
        elif self.waiters is not None and self.waiters.getter is not None and (self.rx_bytes or self.fin_received):
            event, self.waiters.getter = self.waiters.getter, None
            event.succeed(self.take(self.waiters.getter_max, self.waiters.getter_count))

    # --- receiving ---------------------------------------------------------------------------------

    cdef void packet(self, Frame* f, uint32_t l4) noexcept:
        self.segments_in += 1
        self.segment(f, l4)
        frame_free(f)

    cdef void agree(self, const Options* p) noexcept:
        """What both ends understand, from the other's SYN."""
        self.mss_offered = self.mss
        if p.mss < self.mss:
            self.mss = max(p.mss, 64)
        self.scaling = self.scaling and p.scale >= 0
        self.snd_scale = p.scale if self.scaling else 0
        self.timestamps = self.timestamps and p.has_ts
        self.sack = self.sack and p.sack_permitted
        self.ts_recent = p.tsval if p.has_ts else 0

    cdef void segment(self, Frame* f, uint32_t l4) noexcept:
        """RFC 9293 3.10.7, in its order."""
        cdef const uint8_t* t = f.data + l4
        cdef uint32_t flags = t[13], seq = be32(t + 4), ack = be32(t + 8)
        cdef uint32_t header = (t[12] >> 4) * 4
        cdef uint32_t n = f.len - l4 - header, wnd = be16(t + 14), end
        cdef Options p
        cdef bint ok, ce = f.data[IP + 1] & 3 == CE
        cdef TcpListener parent = <TcpListener>self.parent
        options_parse(t, &p)
        if self.state_ == SYN_SENT:
            self.in_syn_sent(flags, seq, ack, wnd, &p)
            return
        if self.state_ == CLOSED:
            return
        self.heard_at = self.ns.calendar.now
        self.keep_sent = 0
        if self.state_ == SYN_RCVD and flags & TCP_SYN and seq == self.irs:
            self.emit(self.syn_flags(), self.iss, 0, 0)     # our SYN-ACK was lost
            return
        if self.state_ == TIME_WAIT and flags & (TCP_SYN | TCP_RST | TCP_ACK) == TCP_SYN and self.reopen(f, l4, seq, &p):
            return
        if p.has_ts and self.timestamps and not flags & TCP_RST and before(p.tsval, self.ts_recent) and self.state_ >= ESTABLISHED:
            if not self.too_often(n):                       # PAWS (RFC 7323 5.3)
                self.note_duplicate(seq, n)
                self.emit(TCP_ACK, self.snd_nxt, 0, 0)
            return
        # is any of it in the window?
        end = seq + n + (1 if flags & TCP_FIN else 0)
        if end == seq:
            ok = not before(seq, self.rcv_nxt) and not after(seq, self.rcv_edge)
        else:
            ok = after(end, self.rcv_nxt) and before(seq, self.rcv_edge)
        if not ok:
            if not flags & TCP_RST and not self.too_often(n):
                self.note_duplicate(seq, n)
                self.emit(TCP_ACK, self.snd_nxt, 0, 0)
            if self.state_ == TIME_WAIT and flags & TCP_FIN:
                self.arm(RTO, TIME_WAIT_LENGTH)
            return
        if flags & TCP_RST:
            if seq == self.rcv_nxt:
                self.die(errno.ECONNREFUSED if self.state_ == SYN_RCVD else errno.ECONNRESET)
            elif not self.too_often(0):
                self.emit(TCP_ACK, self.snd_nxt, 0, 0)      # RFC 5961 3.2: a challenge
            return
        if flags & TCP_SYN:
            if not self.too_often(0):
                self.emit(TCP_ACK, self.snd_nxt, 0, 0)      # RFC 5961 4.2
            return
        if not flags & TCP_ACK:
            return
        if p.has_ts and not after(seq, self.rcv_nxt) and not before(p.tsval, self.ts_recent):
            self.ts_recent = p.tsval
        if self.state_ == SYN_RCVD:
            if before(ack, self.snd_una) or after(ack, self.snd_nxt):
                self.ns.send_reset(f)
                return
            if parent is not None and parent.full():
                parent.overflows += 1                       # no room to be accepted: the SYN-ACK will be sent again
                return
            self.sample_handshake()
            self.establish(wnd << self.snd_scale, seq)
        self.acknowledge(ack, wnd, seq, n, flags, &p)
        if self.state_ == CLOSED:
            return
        if self.ecn and n:
            self.see_ce(ce, flags)
        if n >= <uint32_t>self.payload() and p.has_ts and p.tsecr != self.rcv.echo:
            rcvbuf_echoed(&self.rcv, p.tsecr, <int32_t>(self.ts_now() - p.tsecr), self.rx_bytes != 0)
        if (n or flags & TCP_FIN) and (self.state_ == ESTABLISHED or self.state_ == FIN_WAIT_1 or self.state_ == FIN_WAIT_2):
            self.accept_data(f, l4 + header, seq, n, flags)
        elif flags & TCP_FIN:
            self.emit(TCP_ACK, self.snd_nxt, 0, 0)
        if self.state_ != CLOSED:
            self.push()

    cdef bint reopen(self, Frame* f, uint32_t l4, uint32_t seq, const Options* p) noexcept:
        """A new connection on the same four numbers, if it is surely new (RFC 6191)."""
        cdef Endpoint listener
        if not (after(seq, self.rcv_nxt) or p.has_ts and self.timestamps and after(p.tsval, self.ts_recent)):
            return False
        listener = self.ns.socket_for(IPPROTO_TCP, self.local_ip, self.local_port, 0, 0)
        if listener is None or not isinstance(listener, TcpListener):
            return False
        self.finish()
        (<TcpListener>listener).syn(f, l4)
        return True

    cdef void note_duplicate(self, uint32_t seq, uint32_t n) noexcept:
        """Say in the next ACK that this came twice (RFC 2883)."""
        if not self.sack or n == 0 or not before(seq, self.rcv_nxt):
            return
        if self.ooo is None:
            self.ooo = Reassembly()
        self.ooo.dsack.start = seq
        self.ooo.dsack.end = seq + n if before(seq + n, self.rcv_nxt) else self.rcv_nxt

    cdef void see_ce(self, bint ce, uint32_t flags) noexcept:
        """The receiver's half of ECN: echo until CWR (RFC 3168 6.1.3), or exactly as it came (RFC 8257 3.2)."""
        if self.cc.accurate_ecn:
            if ce != self.ece_owed:
                if self.unacked_bytes:
                    self.emit(TCP_ACK, self.snd_nxt, 0, 0)  # what came before the change had the other value
                self.ece_owed = ce
            return
        if flags & TCP_CWR:
            self.ece_owed = False
        if ce:
            if not self.ece_owed:
                self.quick = max(self.quick, 2)
            self.ece_owed = True

    cdef void in_syn_sent(self, uint32_t flags, uint32_t seq, uint32_t ack, uint32_t wnd, const Options* p) noexcept:
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
        self.rcv_edge += self.rcv_nxt                       # what the SYN offered
        self.heard_at = self.ns.calendar.now
        self.agree(p)
        self.ecn = self.ecn and flags & (TCP_ECE | TCP_CWR) == TCP_ECE
        if flags & TCP_ACK:
            self.snd_una = ack
            self.sample_handshake()
            self.establish(wnd, seq)
            self.emit(TCP_ACK, self.snd_nxt, 0, 0)
            self.push()
        else:
            self.state_ = SYN_RCVD                          # simultaneous open
            self.ecn = False
            self.emit(TCP_SYN | TCP_ACK, self.iss, 0, 0)

    cdef void sample_handshake(self) noexcept:
        """The handshake is the first round-trip time, unless something was sent twice (Karn)."""
        if self.backoff == 0:
            self.sample_rtt(self.ns.calendar.now - self.sent_at)

    cdef void establish(self, uint32_t wnd, uint32_t seq) noexcept:
        cdef TcpListener parent = <TcpListener>self.parent
        self.state_ = ESTABLISHED
        self.confirmed = self.ns.calendar.now
        self.snd_una = self.iss + 1
        self.snd_wnd = wnd
        self.max_wnd = wnd
        self.snd_wl1 = seq
        self.recover = self.small_end = self.snd_una
        rcvbuf_start(&self.rcv, self.first_window(parent is not None), self.payload(), self.rcv_nxt, self.ns.calendar.now)
        self.w.mss = self.payload()
        self.w.cwnd = INITIAL_WINDOW * <double>self.w.mss if self.backoff < 2 else self.w.mss     # RFC 6298 5.7
        self.w.now = self.ns.calendar.now
        if self.w.srtt == 0:
            self.rto = 3.0 if self.backoff else RTO_FIRST
        self.cc.start(&self.w)
        self.backoff = 0
        self.quick = QUICK_ACKS
        timer_cancel(&self.timer[RTO])
        if self.keep_probes:
            self.arm(KEEP, self.keep_idle)
        if self.waiters is not None and self.waiters.connecting is not None:
            event, self.waiters.connecting = self.waiters.connecting, None
            event.succeed(self)
        if self.app is not None:
            (<App>self.app).connected(self)
        if parent is not None:
            self.parent = None
            parent.ready(self)

    cdef void fin_is_acked(self) noexcept:
        if self.state_ == FIN_WAIT_1:
            self.state_ = FIN_WAIT_2
            self.arm(KEEP, self.fin_timeout())
        elif self.state_ == CLOSING:
            self.enter_time_wait()
        elif self.state_ == LAST_ACK:
            self.finish()
        if self.waiters is not None and self.waiters.closing is not None and not self.waiters.closing.triggered:
            self.waiters.closing.succeed()

    cdef void accept_data(self, Frame* f, uint32_t off, uint32_t seq, uint32_t n, uint32_t flags) noexcept:
        """In order to the reader, out of order kept; what was seen before is cut off."""
        cdef bytes data = None
        cdef uint32_t skip
        cdef bint fin = (flags & TCP_FIN) != 0, at_once = fin
        self.data_at = self.ns.calendar.now
        if before(seq, self.rcv_nxt):
            skip = self.rcv_nxt - seq
            if skip > n:
                skip = n
            self.note_duplicate(seq, skip)
            at_once = True
            seq += skip
            off += skip
            n -= skip
        if n and f.have > off:
            data = frame_bytes(f)[off:off + n]
        if seq != self.rcv_nxt:
            if self.ooo is None:
                self.ooo = Reassembly()
            self.ooo.insert(seq, seq + n, data)
            rcvbuf_arrived(&self.rcv, n, self.rcv_edge - self.rcv_nxt, self.payload(), <uint32_t>self.rx_bytes)
            if fin:
                self.ooo.fin = True
                self.ooo.fin_at = seq + n
            self.quick = max(self.quick, 2)
            self.emit(TCP_ACK, self.snd_nxt, 0, 0)          # duplicate ACK at once (RFC 5681 4.2)
            return
        self.rcv_nxt += n
        if n:
            self.unacked_bytes += n
            self.keep(n, data)
            rcvbuf_passed(&self.rcv, self.rcv_nxt, self.rcv_edge, self.data_at)
            rcvbuf_arrived(&self.rcv, n, self.rcv_edge - self.rcv_nxt + n, self.payload(), <uint32_t>self.rx_bytes)
        if self.ooo is not None and (self.ooo.n or self.ooo.fin):
            at_once = True                                  # a hole was filled, or is still there
            self.drain()
            fin = fin or self.ooo.fin and self.ooo.fin_at == self.rcv_nxt
        if fin and not self.fin_received:
            self.fin_received = True
            self.rcv_nxt += 1
            if self.state_ == ESTABLISHED:
                self.state_ = CLOSE_WAIT
            elif self.state_ == FIN_WAIT_1:
                self.state_ = CLOSING
            elif self.state_ == FIN_WAIT_2:
                self.enter_time_wait()
        if at_once or self.unacked_bytes > <uint32_t>self.payload() or self.quick and not self.interactive:
            self.emit(TCP_ACK, self.snd_nxt, 0, 0)
        elif self.timer[DELACK].deadline == 0:
            self.arm(DELACK, ATO)
        self.wake_reader()

    cdef void drain(self) noexcept:
        """What was held and now follows goes to the reader."""
        cdef uint32_t old = self.rcv_nxt, new = self.ooo.advance(old), at = old
        cdef uint32_t start, skip
        cdef bytes piece
        if new == old:
            return
        if self.ooo.data:
            for start in sorted((s for s in self.ooo.data if before(s, new)), key=lambda s: (s - old) & 0xFFFFFFFF):
                piece = self.ooo.data.pop(start)
                if not after(start + <uint32_t>len(piece), at):
                    continue
                if after(start, at):
                    self.keep(start - at, None)
                    at = start
                skip = at - start
                piece = piece[skip:]
                if after(at + <uint32_t>len(piece), new):
                    piece = piece[:new - at]
                self.keep(<uint32_t>len(piece), piece)
                at += <uint32_t>len(piece)
        if at != new:
            self.keep(new - at, None)
        self.rcv_nxt = new

    cdef void enter_time_wait(self) noexcept:
        self.state_ = TIME_WAIT
        timer_cancel(&self.timer[KEEP])
        self.arm(RTO, TIME_WAIT_LENGTH)

    cdef void error(self, int kind, int code, uint32_t info) noexcept:
        """ICMP about this connection: hard only while connecting (RFC 5927); 3/4 lowers the MSS (RFC 1191)."""
        cdef int number = errno_of_icmp(kind, code)
        cdef uint32_t mtu = info & 0xFFFF, i
        cdef Sample r
        memset(&r, 0, sizeof(r))
        if kind == 3 and code == 4:
            if 68 <= mtu < <uint32_t>self.mss + 40:
                self.mss = mtu - 40
                self.w.mss = self.payload()
                if self.state_ >= ESTABLISHED:
                    for i in range(self.flight.head, self.flight.tail):
                        if (self.flight.seg[i].end - self.flight.seg[i].start > <uint32_t>self.payload()
                                and not self.flight.seg[i].state & SACKED):
                            flight_lose(&self.flight, i, &r)
                    self.push()
            return
        if number and self.state_ == SYN_SENT:
            self.die(number)
        elif number:
            self.soft_error = number                        # told if the connection times out


cdef class TcpListener(Endpoint):
    """A listening socket.

    Parameters
    ----------
    address : str
        Of the host's addresses the one that it listens on; all if empty.
    backlog : int
        Established connections that may wait for `accept`, and one more, as Linux counts; a SYN is dropped when as
        many wait, or are half open. tcp_abort_on_overflow is off: a client whose ACK finds no room tries again.
    app : App, optional
        A compiled application that accepts every connection at once, `most` of them at a time (0: any number); it says when it has
        done with one (`released`).
    options
        Of the sockets it makes, see `TcpSocket`.
    """

    def __init__(self, Namespace namespace, int port, int backlog=4096, str address="", App app=None, int most=0, **options):
        if not 1 <= port <= 65535:
            raise ValueError(f"port {port} is out of range 1-65535")
        if backlog < 1:
            raise ValueError(f"backlog {backlog}: expected at least 1")
        self.ns = namespace
        self.protocol = IPPROTO_TCP
        self.local_ip = int(ipaddress.IPv4Address(address)) if address else 0
        self.local_port = port
        self.backlog = backlog
        self.app = app
        self.most = most
        self.queue = deque()
        self.getters = deque()
        self.half_open = set()
        self.options = options
        namespace.sockets.register(self)

    def accept(self):
        """Event of the next connection, a TcpSocket."""
        event = simpy.Event(self.ns.env)
        if self.queue:
            event.succeed(self.queue.popleft())
        else:
            self.getters.append(event)
        return event

    def close(self):
        """Stop listening; connections that nobody accepted are reset."""
        cdef TcpSocket s
        self.ns.sockets.unregister(self)
        for s in [*self.queue, *self.half_open]:
            s.abort()
        self.queue.clear()

    cdef bint full(self) noexcept:
        """Is there no room for one more to be accepted?"""
        return len(self.queue) > self.backlog

    cdef void ready(self, TcpSocket sock) noexcept:
        self.half_open.discard(sock)
        if self.app is not None and not (self.most and self.taken >= self.most):
            self.hand_over(sock)
        elif self.getters:
            self.getters.popleft().succeed(sock)
        else:
            self.queue.append(sock)

    cdef void hand_over(self, TcpSocket sock) noexcept:
        """The application accepts a connection, and what has come by it so far."""
        self.taken += 1
        sock.app = self.app
        self.app.connected(sock)
        sock.wake_reader()

    cdef void released(self) noexcept:
        """The application has done with a connection: it accepts the next that is still there."""
        cdef TcpSocket sock
        self.taken -= 1
        while self.queue and self.taken < self.most:
            sock = self.queue.popleft()
            if sock.state_ != CLOSED:
                self.hand_over(sock)

    cdef void packet(self, Frame* f, uint32_t l4) noexcept:
        """LISTEN: a SYN makes a half-open connection, anything else a reset."""
        cdef const uint8_t* t = f.data + l4
        if not t[13] & TCP_RST:
            if t[13] & TCP_ACK or not t[13] & TCP_SYN:
                self.ns.send_reset(f)
            else:
                self.syn(f, l4)
        frame_free(f)

    cdef void syn(self, Frame* f, uint32_t l4) noexcept:
        cdef const uint8_t* t = f.data + l4
        cdef TcpSocket s
        cdef Options p
        if self.full() or <int>len(self.half_open) >= self.backlog:
            self.overflows += 1
            return
        try:
            s = TcpSocket(self.ns, self.local_port, **self.options)
            s.local_ip = ip_dst(f.data + IP)
            s.remote_ip = ip_src(f.data + IP)
            s.remote_port = be16(t)
            s.parent = self
            s.driven = self.app is not None
            options_parse(t, &p)
            s.agree(&p)
            s.start(SYN_RCVD)
            s.ecn = s.ecn_wanted > 0 and t[13] & (TCP_ECE | TCP_CWR) == TCP_ECE | TCP_CWR
            s.irs = be32(t + 4)
            s.rcv_nxt = s.irs + 1
            s.rcv_edge = s.rcv_nxt
            self.ns.sockets.register(s)
            self.half_open.add(s)
            s.emit(s.syn_flags(), s.iss, 0, 0)
            s.arm(RTO, s.rto)
        except Exception as error:
            self.ns.calendar.fail(error)
