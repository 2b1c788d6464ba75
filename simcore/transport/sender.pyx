"""The half of a TCP connection that sends.

What may leave: windows, Nagle, pacing. What has been lost: RACK-TLP (RFC 8985), timeouts (RFC 6298) and whether they were needless
(RFC 4015), without SACK NewReno (RFC 6582). How much may be out meanwhile: proportional rate reduction (RFC 6937), and congestion
control (`congestion`) otherwise. The scoreboard is in `flight`.
"""
import errno

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset
from natfast.headers cimport TCP_ACK, TCP_ECE, TCP_FIN, TCP_PSH, after, be32, before
from simcore.engine.timer cimport timer_cancel
from simcore.transport.flight cimport (HAS_FIN, Sample, Sent, flight_ack, flight_detect, flight_find_all, flight_lose, flight_lose_all,
                                       flight_next_lost, flight_pipe, flight_rate, flight_resend, flight_sack, flight_send,
                                       flight_split)
from simcore.transport.options cimport Options
from simcore.transport.tcb cimport (SYN_SENT, SYN_RCVD, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, LAST_ACK, TIME_WAIT, OPEN,
                                    DISORDER, CWR, RECOVERY, LOSS, HELD_NOT, HELD_CWND, HELD_RWND, HELD_SNDBUF, HELD_IDLE, RTO, PROBE,
                                    PACE, INITIAL_WINDOW, RTO_MIN, RTO_MAX, ATO, INFINITE)
from simcore.transport.tcb import RECOVERY_STATES

cdef enum:
    GSO_MAX = 65536                 # bytes of a burst, at most
    SYNACK_RETRIES = 5
    BASE_MSS = 1024                 # where a search for the path MTU starts again
    DUPACKS = 3

cdef double TIMEOUT_MIN = 2e-3      # Linux's least patience
cdef double BURST_RTT = 32 * 512e-6     # s: half a millisecond more halves what a burst may be longer


cdef class Sender(Tcb):
    """Sends a stream that is there to be sent, and hears what was received of it."""

    # --- sending -----------------------------------------------------------------------------------

    cdef void push(self) noexcept:
        """Send what windows, pacing, Nagle and the queue allow: lost segments first."""
        cdef uint32_t n, flags, used
        cdef uint64_t at, left
        cdef int size, i
        cdef double now = self.ns.calendar.now
        cdef uint8_t held = HELD_NOT
        cdef bint sent = False, limited = False
        if self.state_ < ESTABLISHED or self.state_ == FIN_WAIT_2 or self.state_ == TIME_WAIT:
            self.is_held(HELD_IDLE)
            return
        self.burst = 0
        if self.restart and self.flight.outstanding == 0 and self.tx_end > self.tx_base and now - self.sent_at > self.rto:
            self.restart_slowly(now)
        while True:
            if self.paced and self.w.pacing > 0 and now < self.pace_at and self.burst <= 0:
                self.arm(PACE, self.pace_at - now)
                limited = self.cc.models
                break
            used = flight_pipe(&self.flight)
            size = self.room()
            if self.flight.lost and not self.holding:
                i = flight_next_lost(&self.flight)
                if i >= 0:
                    if used and used + size > self.w.cwnd:
                        limited = True
                        break
                    self.resend(i)
                    sent = True
                    continue
            if self.fin_sent:
                break
            at = self.position(self.snd_nxt)
            left = self.tx_end - at
            if left == 0:
                if self.fin_queued:
                    self.send_new(TCP_FIN | TCP_ACK, at, 0)
                    sent = True
                elif not limited and self.flight.lost == 0 and used < self.w.cwnd:
                    self.flight.app_limited = self.flight.delivered + used if self.flight.delivered + used else 1
                break
            n = <uint32_t>(left if left < <uint64_t>size else size)
            if used and used + n > self.w.cwnd:
                limited = True
                break
            used = self.snd_nxt - self.snd_una              # the peer's window
            if used + n > self.snd_wnd:
                held = HELD_RWND
                if used:
                    # silly window avoidance (RFC 9293 3.8.6.2.1): a piece only if it is half of all the peer ever offered
                    break
                if self.snd_wnd < self.max_wnd >> 1 or self.snd_wnd == 0:
                    if self.timer[RTO].deadline == 0:
                        self.arm(RTO, self.rto)             # zero window: probe
                    break
                n = self.snd_wnd
                held = HELD_NOT
            if n < <uint32_t>size and not self.nodelay and not self.fin_queued and after(self.small_end, self.snd_una):
                break                                       # Nagle, as Minshall has it: one small segment may be out
            flags = TCP_ACK | (TCP_PSH if n == left else 0)
            if self.fin_queued and n == left:
                flags |= TCP_FIN
            self.send_new(flags, at, n)
            sent = True
        if self.tx_end == self.tx_base and self.flight.outstanding == 0:
            held = HELD_IDLE
        elif held == HELD_NOT and self.waiters is not None and self.waiters.senders:
            held = HELD_SNDBUF                              # nothing is left but what Nagle keeps, and its user waits with more
        self.is_held(HELD_CWND if limited else held)
        if sent:
            self.set_probe()
        if sent or limited:
            self.validate(limited or flight_pipe(&self.flight) >= self.w.cwnd)

    cdef void send_new(self, uint32_t flags, uint64_t at, uint32_t n) noexcept:
        cdef uint32_t end = self.snd_nxt + n + (1 if flags & TCP_FIN else 0)
        cdef double now = self.ns.calendar.now
        if n and now - self.data_at < ATO:
            self.interactive = True                         # answers soon: its ACKs can ride on data
        if n < <uint32_t>self.room():
            self.small_end = end
        if self.flight.outstanding == 0 and self.sent_at:
            self.cc.resume(now, now - self.sent_at)
        self.emit(flags, self.snd_nxt, at, n)
        flight_send(&self.flight, self.snd_nxt, end, HAS_FIN if flags & TCP_FIN else 0, now)
        self.bytes_out += n
        self.snd_nxt = end
        self.spend(n)
        if flags & TCP_FIN:
            self.fin_sent = True
            if self.state_ == ESTABLISHED:
                self.state_ = FIN_WAIT_1
            elif self.state_ == CLOSE_WAIT:
                self.state_ = LAST_ACK
        if self.timer[RTO].deadline == 0:
            self.arm(RTO, self.rto)

    cdef void resend(self, uint32_t i) noexcept:
        """Send a segment of the flight again, in the size that the path takes now."""
        cdef Sent* s
        cdef uint32_t size = self.room(), n, flags = TCP_ACK
        s = &self.flight.seg[i]
        if s.end - s.start > size + (1 if s.state & HAS_FIN else 0):
            n = self.flight.head
            flight_split(&self.flight, i, size)
            i -= n - self.flight.head
        s = &self.flight.seg[i]
        n = s.end - s.start
        if s.state & HAS_FIN:
            flags |= TCP_FIN
            n -= 1
        self.retransmits += 1
        if self.undo_marker_set:
            self.undo_retrans += 1
        if self.retrans_ts == 0:
            self.retrans_ts = self.ts_now()
        self.emit(flags, s.start, self.position(s.start), n)
        flight_resend(&self.flight, i, self.ns.calendar.now)
        self.spend(n)
        if self.timer[RTO].deadline == 0:
            self.arm(RTO, self.rto)

    cdef bytes stream(self, uint64_t at, uint32_t n):
        """Bytes [at, at + n) of the stream; None if all are zeros."""
        cdef uint64_t start, a, b
        cdef uint32_t i = 0, chunks = len(self.tx)
        cdef bytes chunk
        cdef bytearray out = None
        if self.tx_next < chunks and self.tx[self.tx_next][0] <= at:
            i = self.tx_next                        # else it is sent again
        while i < chunks:
            start, chunk = self.tx[i]
            if start >= at + n:
                break
            if start + <uint64_t>len(chunk) > at:
                if out is None:
                    out = bytearray(n)
                a = at if at > start else start
                b = min(at + n, start + <uint64_t>len(chunk))
                out[a - at:b - at] = chunk[a - start:b - start]
                self.tx_next = max(self.tx_next, i)
            i += 1
        return None if out is None else bytes(out)

    cdef void release(self, uint32_t acked) noexcept:
        """Acknowledged bytes leave the send queue."""
        cdef uint64_t left = self.tx_end - self.tx_base
        self.tx_base += acked if acked < left else left
        if self.tx is not None:
            while self.tx and self.tx[0][0] + len(self.tx[0][1]) <= self.tx_base:
                self.tx.popleft()
                self.tx_next -= self.tx_next > 0
            if not self.tx:
                self.tx = None
        if self.waiters is not None:
            while self.waiters.senders and self.tx_end - self.tx_base <= self.sndbuf:
                event, size = self.waiters.senders.popleft()
                event.succeed(size)

    cdef void spend(self, uint32_t n) noexcept:
        """`n` bytes have left: pacing and the reduction's account."""
        cdef double now = self.ns.calendar.now
        self.sent_at = now
        if self.ca == RECOVERY or self.ca == CWR:
            self.prr_out += n
        if self.paced and self.w.pacing > 0:
            if now >= self.pace_at:
                self.burst = self.burst_size()
                self.pace_at = now
            self.burst -= n
            self.pace_at += (n + 66) / self.w.pacing

    cdef double burst_size(self) noexcept:
        """Bytes that a paced sender lets go at a time: what takes a millisecond, more on short paths, two segments at least (Linux)."""
        cdef double size = self.w.pacing / 1024, rtt = self.flight.min_rtt
        if 0 < rtt < BURST_RTT:
            size += GSO_MAX >> <int>(rtt / BURST_RTT * 32)
        return max(min(size, <double>GSO_MAX), 2.0 * self.w.mss)

    cdef void validate(self, bint limited) noexcept:
        """How far cwnd is used, as Linux tells: it grows only if it was the limit, or in slow start half of it was out, in this round."""
        cdef double now = self.ns.calendar.now
        cdef uint32_t out = self.snd_nxt - self.snd_una, used
        if limited or not before(self.snd_una, self.usage_end) or not self.w.limited and out > self.usage:
            self.w.limited = limited
            self.usage = out
            self.usage_end = self.snd_nxt
        if self.cwnd_is_used():
            self.limited_at = now
            self.usage_most = 0
            return
        self.usage_most = max(self.usage_most, out)
        if self.restart and not self.cc.models and now - self.limited_at >= self.rto:
            used = max(self.usage_most, INITIAL_WINDOW * <uint32_t>self.payload())
            if self.ca == OPEN and used < self.w.cwnd:          # nobody knows whether the path still bears it (RFC 2861)
                self.remember()
                self.w.cwnd = (self.w.cwnd + used) / 2
            self.usage_most = 0
            self.limited_at = now

    cdef void remember(self) noexcept:
        """A window that is given up for want of use may be come back to by slow start (RFC 2861)."""
        if self.w.ssthresh < INFINITE:
            self.w.ssthresh = max(self.w.ssthresh, 0.75 * self.w.cwnd)

    cdef bint cwnd_is_used(self) noexcept:
        return self.w.limited or self.w.cwnd < self.w.ssthresh and self.w.cwnd < 2.0 * self.usage

    cdef void restart_slowly(self, double now) noexcept:
        """Idle for longer than an RTO: what cwnd knew has aged (RFC 5681 4.1, RFC 2861)."""
        cdef double idle = now - self.sent_at, first = INITIAL_WINDOW * <double>self.payload()
        if self.sent_at == 0 or self.cc.models:
            return
        self.remember()
        while idle > self.rto and self.w.cwnd > first:
            self.w.cwnd /= 2
            idle -= self.rto
        self.w.cwnd = max(self.w.cwnd, first)
        self.cc.resume(now, now - self.sent_at)
        self.sent_at = now

    # --- loss: timeouts and probes ------------------------------------------------------------------

    cdef void set_probe(self) noexcept:
        """Schedule a tail loss probe (RFC 8985 7.2): two round trips, and the other's delayed ACK if one segment is out."""
        cdef double pto
        if not self.sack or self.ca >= CWR or self.flight.outstanding == 0 or self.flight.n_sacked or self.tlp_out or self.w.srtt == 0:
            return
        pto = 2 * self.w.srtt + (RTO_MIN if self.flight.tail - self.flight.head == 1 else 2e-3)
        if self.ns.calendar.now + pto < self.timer[RTO].deadline:
            self.probe_is_tlp = True
            self.arm(PROBE, pto)

    cdef void probe(self) noexcept:
        """Tail loss probe, or the end of RACK's reordering window."""
        cdef Sample r
        cdef uint32_t i
        if self.flight.outstanding == 0:
            return
        if not self.probe_is_tlp:
            memset(&r, 0, sizeof(r))
            self.holding = False
            self.detect(&r)
            if r.lost and self.ca < RECOVERY:
                self.enter(RECOVERY)
                if not self.cc.models:                      # nothing has arrived now, so one segment goes out
                    r.delivered = self.payload()
                    self.proportional(&r, True)
            self.push()
            return
        if self.ca >= CWR or self.flight.n_sacked:
            return
        self.tlp_out = True
        self.tlp_end = self.snd_nxt
        self.tlp_again = False
        if not self.fin_sent and self.tx_end > self.position(self.snd_nxt) and self.snd_nxt - self.snd_una + self.room() <= self.snd_wnd:
            i = <uint32_t>min(self.tx_end - self.position(self.snd_nxt), <uint64_t>self.room())
            self.send_new(TCP_ACK | TCP_PSH, self.position(self.snd_nxt), i)
            self.tlp_end = self.snd_nxt
        else:
            self.tlp_again = True
            self.resend(self.flight.tail - 1)
        self.arm(RTO, self.rto)

    cdef void timeout(self) noexcept:
        """The retransmission timer ran out (RFC 6298 5.4-5.6), or a zero window wants a probe."""
        self.backoff += 1
        if self.state_ == SYN_SENT or self.state_ == SYN_RCVD:
            if self.backoff > (self.syn_retries if self.state_ == SYN_SENT else SYNACK_RETRIES):
                self.die(errno.ETIMEDOUT)
                return
            if self.ecn and self.backoff > 1:
                self.ecn = False                            # perhaps the path drops what asks for it (RFC 3168 6.1.1.1)
            self.rto = min(self.rto * 2, RTO_MAX)
            self.retransmits += 1
            self.emit(self.syn_flags(), self.iss, 0, 0)
            self.arm(RTO, self.rto)
            return
        if self.backoff > self.retries:
            self.die(self.soft_error if self.soft_error else errno.ETIMEDOUT)
            return
        if self.flight.outstanding == 0:
            if self.tx_end > self.tx_base:
                self.emit(TCP_ACK, self.snd_una - 1, 0, 0)  # window probe: out of sequence, so it is answered
                self.rto = min(self.rto * 2, RTO_MAX)
                self.arm(RTO, self.rto)
            return
        self.rto = min(self.rto * 2, RTO_MAX)
        if self.probing and self.backoff >= (1 if self.probing == 2 else 3):
            self.shrink_mss()
        self.enter(LOSS)
        self.push()
        self.arm(RTO, self.rto)

    cdef void shrink_mss(self) noexcept:
        """Perhaps the path drops what is too big and nobody says so (RFC 4821): try smaller."""
        self.mss = min(self.mss, BASE_MSS) if self.mss > BASE_MSS else max(self.mss // 2, 48)
        self.w.mss = self.payload()

    cdef void enter(self, int ca) noexcept:
        """A reduction begins: by ECN, by recovery, or after a timeout."""
        self.w.now = self.ns.calendar.now
        if self.ca <= CWR or ca == LOSS and self.ca != LOSS:
            if not self.undo_marker_set or ca == LOSS:
                self.undo_marker_set = True
                self.undo_marker = self.snd_una
                self.undo_retrans = 0
                if self.flight.retrans == 0:
                    self.retrans_ts = 0                     # else a copy from before may still fill a hole
                if self.ca <= DISORDER:
                    self.undo_cwnd = self.w.cwnd
                    self.undo_ssthresh = self.w.ssthresh
            if self.ca <= DISORDER or ca == LOSS:
                self.prior_cwnd = self.w.cwnd
                self.w.ssthresh = self.cc.reduce(&self.w, ca == CWR)
                self.prr_delivered = 0
                self.prr_out = 0
        if ca == CWR:
            self.undo_marker_set = False
        self.ca = ca
        self.recover = self.snd_nxt
        self.w.recovering = ca >= CWR
        self.cwr_owed = self.ecn and ca != LOSS
        self.holding = False
        timer_cancel(&self.timer[PROBE])
        self.tlp_out = False
        if ca == LOSS:
            flight_lose_all(&self.flight)
            self.cc.timeout(&self.w)
            self.w.cwnd = self.payload()
            self.dupacks = 0

    cdef void undo(self) noexcept:
        """Nothing was lost: what was taken for loss was reordering or delay (RFC 4015, RFC 3708)."""
        flight_find_all(&self.flight)
        self.w.cwnd = max(self.w.cwnd, self.undo_cwnd)
        self.w.ssthresh = max(self.w.ssthresh, self.undo_ssthresh)
        self.cc.undo(&self.w)
        self.undo_marker_set = False
        self.spurious += 1
        self.leave()

    cdef void leave(self) noexcept:
        self.ca = DISORDER if self.flight.n_sacked else OPEN
        self.w.recovering = False
        self.dupacks = 0
        self.undo_marker_set = False

    cdef void detect(self, Sample* r) noexcept:
        """RACK: mark losses, or wait for as long as reordering may explain the gap."""
        cdef double window = 0, wait
        if self.flight.reordering or (self.ca < RECOVERY and self.flight.n_sacked < DUPACKS):
            window = min(self.flight.window_mult * max(self.flight.min_rtt, 0.0) / 4, self.w.srtt)
        wait = flight_detect(&self.flight, self.ns.calendar.now, window, r)
        if wait > 0:
            self.probe_is_tlp = False
            self.arm(PROBE, wait + TIMEOUT_MIN)

    cdef void sample_rtt(self, double rtt) noexcept:
        """RFC 6298 section 2."""
        if self.w.srtt == 0:
            self.w.srtt = rtt
            self.rttvar = rtt / 2
        else:
            self.rttvar += (abs(self.w.srtt - rtt) - self.rttvar) / 4
            self.w.srtt += (rtt - self.w.srtt) / 8
        self.rto = min(self.w.srtt + max(4 * self.rttvar, RTO_MIN), RTO_MAX)

    # --- acknowledgements --------------------------------------------------------------------------

    cdef void acknowledge(self, uint32_t ack, uint32_t wnd, uint32_t seq, uint32_t n, uint32_t flags, const Options* p) noexcept:
        """The ACK field: release, measure, detect loss, move the window, move the state on."""
        cdef Sample r
        cdef uint32_t acked, k, start, end
        cdef double now = self.ns.calendar.now, echoed = -1
        cdef bint dsack = False, moved
        if after(ack, self.snd_nxt):
            if not self.too_often(n):
                self.emit(TCP_ACK, self.snd_nxt, 0, 0)
            return
        if before(ack, self.snd_una) and p.n_sacks == 0:
            return                                          # old news
        memset(&r, 0, sizeof(r))
        r.rtt = r.last_rtt = -1
        r.prior_inflight = flight_pipe(&self.flight)
        r.ece = self.ecn and (flags & TCP_ECE) != 0
        wnd <<= self.snd_scale
        if p.has_ts and p.tsecr:
            echoed = self.ts_time(p.tsecr)
        moved = after(ack, self.snd_una)
        if moved or p.n_sacks:
            self.confirmed = now
        if moved:
            acked = ack - self.snd_una
            r.advanced = True
            flight_ack(&self.flight, ack, now, &r)
            # the copy is acknowledged with its own timestamp or a later one; only ACKs that fill a hole echo what filled it
            r.spurious = self.retrans_ts != 0 and p.has_ts and p.tsecr != 0 and before(p.tsecr, self.retrans_ts)
            self.release(acked)
            self.snd_una = ack
            self.backoff = 0
            if r.rtt >= 0:
                self.sample_rtt(r.rtt)
            elif echoed >= 0 and now - echoed < 1e5:
                self.sample_rtt(max(now - echoed, 1e-3))
        elif (self.flight.outstanding and not self.sack and n == 0 and ack == self.snd_una and wnd == self.snd_wnd
              and not flags & TCP_FIN):
            self.dupacks += 1
        # SACK blocks; the first may tell of a duplicate
        if self.sack and p.n_sacks:
            for k in range(<uint32_t>p.n_sacks):
                start = be32(p.sacks + 8 * k)
                end = be32(p.sacks + 8 * k + 4)
                if k == 0 and (before(start, ack) or p.n_sacks > 1 and not before(start, be32(p.sacks + 8)) and not after(end, be32(p.sacks + 12))):
                    dsack = True
                    self.heed_dsack(start, end)
                elif before(start, end) and not before(start, ack) and not after(end, self.snd_nxt):
                    flight_sack(&self.flight, start, end, now, &r)
        # as Linux: also from a segment sent again, if it acknowledges more; of two alike the one that offers more, or nothing, is newer
        if not before(ack, self.snd_una) and (moved or before(self.snd_wl1, seq)
                                              or self.snd_wl1 == seq and (wnd > self.snd_wnd or wnd == 0)):
            if self.flight.outstanding == 0 and wnd > self.snd_wnd:
                self.backoff = 0
                timer_cancel(&self.timer[RTO])
            self.snd_wnd = wnd
            if wnd > self.max_wnd:
                self.max_wnd = wnd
            self.snd_wl1 = seq
        if r.delivered or self.dupacks or dsack or self.ca != OPEN:
            self.react(&r, moved, dsack)
        if moved:
            if self.flight.outstanding == 0:
                timer_cancel(&self.timer[RTO])
                timer_cancel(&self.timer[PROBE])
            else:
                self.arm(RTO, self.rto)
            if self.ca <= DISORDER:
                self.set_probe()
            if self.fin_acked():
                self.fin_is_acked()
        if self.history is not None:
            self.history.append((now, self.w.cwnd, self.w.ssthresh, self.w.srtt, self.rto, flight_pipe(&self.flight),
                                 RECOVERY_STATES[self.ca]))

    cdef void heed_dsack(self, uint32_t start, uint32_t end) noexcept:
        """Something arrived twice: a retransmission was for nothing (RFC 3708), RACK had too little patience."""
        if self.undo_marker_set and self.undo_retrans > 0 and not before(start, self.undo_marker):
            self.undo_retrans -= 1
        self.dsacks += 1
        if self.flight.window_mult < 255 and not before(start, self.dsack_round):
            self.flight.window_mult += 1
            self.dsack_round = self.snd_nxt
        if self.tlp_out and self.tlp_again and end == self.tlp_end:
            self.tlp_out = False                            # both copies of the tail arrived: nothing was lost

    cdef void react(self, Sample* r, bint moved, bint dsack) noexcept:
        """Loss detection, recovery and growth: the part of an ACK that is about congestion."""
        cdef double now = self.ns.calendar.now
        cdef bint lost, late
        if self.tlp_out and not before(self.snd_una, self.tlp_end):
            self.tlp_out = False
            if self.tlp_again and not dsack and self.ca <= DISORDER:    # the probe repaired a loss that nobody saw
                self.enter(CWR)
                self.w.cwnd = self.w.ssthresh
                self.leave()
        # what was taken for lost was only late, as its acknowledgement is older than any copy: as long as copies are out, nothing more
        # is sent again, for they will tell
        late = self.ca >= RECOVERY and self.undo_marker_set and moved and (r.spurious or self.retrans_ts == 0)
        self.holding = late and self.ca == RECOVERY and self.flight.retrans != 0 and before(self.snd_una, self.recover)
        if late and not self.holding or (dsack and self.ca >= RECOVERY and self.undo_marker_set and self.undo_retrans == 0
                                         and self.retrans_ts):
            self.undo()
        if self.sack:
            # as Linux: what has waited too long since, the timer finds
            if self.flight.advanced and not self.holding and (self.flight.n_sacked or self.flight.retrans or self.ca >= RECOVERY):
                self.detect(r)
        else:
            self.newreno(r, moved)
        lost = r.lost > 0
        flight_rate(&self.flight, now, r)
        self.w.now = now
        self.w.una = self.snd_una
        self.w.nxt = self.snd_nxt
        self.w.delivered = self.flight.delivered
        self.w.min_rtt = self.flight.min_rtt
        # a round of recovery ends where it began to send
        if self.ca >= CWR and not before(self.snd_una, self.recover):
            if self.ca != LOSS and not self.cc.models:
                self.w.cwnd = self.w.ssthresh               # though little may be in the network, as Linux leaves it
            self.leave()
        elif self.ca <= DISORDER:
            self.ca = DISORDER if self.flight.n_sacked or self.dupacks else OPEN
        if lost and self.ca < RECOVERY:
            self.enter(RECOVERY)
        elif r.ece and self.ca <= DISORDER:
            self.enter(CWR)
        self.w.pipe = flight_pipe(&self.flight)
        self.cc.acked(&self.w, r)
        if self.w.idling:
            self.flight.app_limited = max(self.flight.delivered + self.w.pipe, <uint64_t>1)
        if not self.cc.models:
            if self.ca == CWR or self.ca == RECOVERY:
                self.proportional(r, lost)
            elif r.delivered and self.cwnd_is_used():
                self.cc.grow(&self.w, r)
        if self.paced and not self.cc.models and self.w.srtt > 0:
            self.w.pacing = (2.0 if self.w.cwnd < self.w.ssthresh / 2 else 1.2) * self.w.cwnd / self.w.srtt

    cdef void proportional(self, const Sample* r, bint lost) noexcept:
        """Proportional rate reduction (RFC 6937): to ssthresh over one round trip, not at once."""
        cdef double pipe = flight_pipe(&self.flight), room = self.w.ssthresh - pipe, more
        cdef double mss = self.payload()
        if r.delivered == 0 and not lost:
            return
        self.prr_delivered += r.delivered
        if room < 0:
            more = self.w.ssthresh * self.prr_delivered / max(self.prior_cwnd, mss) - self.prr_out
        else:
            more = max(self.prr_delivered - self.prr_out, <double>r.delivered)
            if r.advanced and not lost:
                more += mss                                 # slow start within ssthresh
            more = min(room, more)
        if self.prr_out == 0:
            more = max(more, mss)                           # the fast retransmit goes out in any case
        self.w.cwnd = pipe + max(more, 0.0)

    cdef void newreno(self, Sample* r, bint moved) noexcept:
        """Without SACK (RFC 6582): three duplicate ACKs or a partial one name the next hole."""
        if moved:
            if self.ca == RECOVERY and before(self.snd_una, self.recover) and self.flight.outstanding:
                flight_lose(&self.flight, self.flight.head, r)
                self.dupacks = 0
            elif self.ca < RECOVERY:
                self.dupacks = 0
            return
        if self.dupacks == 0:
            return
        if self.ca == RECOVERY:
            r.delivered += self.payload()                   # each stands for a segment that has left the network
            self.w.cwnd += self.payload()
        elif self.dupacks == DUPACKS and self.ca < RECOVERY:
            flight_lose(&self.flight, self.flight.head, r)
