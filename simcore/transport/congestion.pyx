from libc.math cimport cbrt
from libc.stdint cimport uint8_t, uint16_t

from natfast.headers cimport before
from natfast.siphash cimport siphash13
from simcore.engine.flag cimport Flag

ALGORITHMS = ("reno", "cubic", "linux-cubic", "dctcp", "bbr")

cdef CongestionControl make(str name, dict settings):
    """A new instance by name, with the settings of its module."""
    if name == "cubic":
        return Cubic(bool(settings["tcp_cubic.tcp_friendliness"]))
    if name == "linux-cubic":
        return LinuxCubic()
    if name == "reno":
        return Reno()
    if name == "dctcp":
        return Dctcp()
    if name == "bbr":
        return Bbr()
    raise ValueError(f"congestion control {name!r} is not known, expected one of {', '.join(ALGORITHMS)}")


cdef class CongestionControl:
    """The interface; the sender calls, the algorithm sets cwnd (and ssthresh through `reduce`)."""

    cdef void start(self, Window* w) noexcept:
        """The connection is established."""

    cdef double reduce(self, Window* w, bint ecn) noexcept:
        """A round trip with loss, or (`ecn`) with marks, begins: the new ssthresh."""
        return max(w.cwnd / 2, 2.0 * w.mss)

    cdef void grow(self, Window* w, const Sample* s) noexcept:
        """Data was delivered, nothing is wrong, and cwnd is what limits the sender."""

    cdef void acked(self, Window* w, const Sample* s) noexcept:
        """Every ACK that delivers something, in any state."""

    cdef void timeout(self, Window* w) noexcept:
        """The retransmission timer ran out."""

    cdef void undo(self, Window* w) noexcept:
        """The last `reduce` was a mistake; cwnd and ssthresh are restored already."""

    cdef void resume(self, double now, double idle) noexcept:
        """Data is sent after nothing was in the network for `idle` seconds."""


cdef class Reno(CongestionControl):
    """RFC 5681: slow start, then a segment per round trip; half on loss."""
    name = "reno"

    cdef void grow(self, Window* w, const Sample* s) noexcept:
        if w.cwnd < w.ssthresh:
            w.cwnd += s.delivered
        else:
            w.cwnd += <double>w.mss * s.delivered / w.cwnd


cdef double CUBIC_C = 0.4
cdef double CUBIC_BETA = 0.7
cdef double CUBIC_ALPHA = 3 * (1 - 0.7) / (1 + 0.7)

cdef enum:                          # HyStart++ (RFC 9406 4.3)
    SAMPLES = 8                     # RTT samples that a round needs
    CSS_DIVISOR = 4                 # growth in conservative slow start
    CSS_ROUNDS = 5
cdef double RTT_THRESH_LOW = 4e-3
cdef double RTT_THRESH_HIGH = 16e-3


cdef class ByTime(CongestionControl):
    """Grows by how long ago the window was cut."""
    cdef double epoch                               # s, when that was; -1: nothing was sent since

    cdef void resume(self, double now, double idle) noexcept:
        if self.epoch >= 0:                         # silence is no time to grow in (RFC 9438 5.8)
            self.epoch = min(self.epoch + idle, now)


cdef class Cubic(ByTime):
    """RFC 9438, leaving slow start by HyStart++ (RFC 9406).

    Parameters
    ----------
    friendly : bool
        Grow at least as Reno would (RFC 9438 4.3); Linux's module parameter `tcp_friendliness`.
    """
    name = "cubic"
    cdef double w_max, k, w_est, prior
    cdef double saved_w_max, saved_epoch
    # HyStart++
    cdef double last_min, this_min, css_baseline
    cdef uint32_t round_end
    cdef int samples
    cdef uint8_t css_rounds
    cdef Flag in_round, css
    cdef Flag friendly

    def __init__(self, bint friendly=True):
        self.friendly = friendly

    cdef void start(self, Window* w) noexcept:
        self.epoch = -1
        self.last_min = self.this_min = 1e300

    cdef double reduce(self, Window* w, bint ecn) noexcept:
        self.saved_w_max = self.w_max
        self.saved_epoch = self.epoch
        # fast convergence: a flow that lost before it was back gives room (RFC 9438 4.7)
        self.w_max = w.cwnd if w.cwnd >= self.w_max else w.cwnd * (1 + CUBIC_BETA) / 2
        self.prior = w.cwnd
        self.epoch = -1
        return max(w.cwnd * CUBIC_BETA, 2.0 * w.mss)

    cdef void undo(self, Window* w) noexcept:
        self.w_max = self.saved_w_max
        self.epoch = self.saved_epoch

    cdef void timeout(self, Window* w) noexcept:
        self.epoch = -1
        self.in_round = False
        self.css = False

    cdef void grow(self, Window* w, const Sample* s) noexcept:
        cdef double t, target, mss = w.mss
        if w.cwnd < w.ssthresh:
            self.slow_start(w, s)
            return
        if self.epoch < 0:
            self.epoch = w.now
            self.w_est = w.cwnd
            self.k = cbrt((self.w_max - w.cwnd) / mss / CUBIC_C) if self.w_max > w.cwnd else 0.0
            if self.w_max < w.cwnd:
                self.w_max = w.cwnd
        t = w.now - self.epoch + w.srtt - self.k
        target = self.w_max + CUBIC_C * t * t * t * mss
        # what Reno would have by now; as fast as Reno once the old window is reached (RFC 9438 4.3)
        self.w_est += (CUBIC_ALPHA if self.w_est < self.prior else 1.0) * s.delivered / w.cwnd * mss
        target = min(target, 1.5 * w.cwnd)
        if self.friendly:
            target = max(target, self.w_est)
        if target > w.cwnd:
            w.cwnd += (target - w.cwnd) / w.cwnd * s.delivered

    cdef void slow_start(self, Window* w, const Sample* s) noexcept:
        cdef double thresh
        if not self.in_round or not before(w.una, self.round_end):
            self.in_round = True
            self.round_end = w.nxt
            self.last_min = self.this_min
            self.this_min = 1e300
            self.samples = 0
            if self.css:
                self.css_rounds += 1
                if self.css_rounds >= CSS_ROUNDS:
                    w.ssthresh = w.cwnd
                    self.css = False
                    return
        if s.rtt >= 0:
            self.samples += 1
            self.this_min = min(self.this_min, s.rtt)
            if self.samples >= SAMPLES and self.last_min < 1e299:
                if self.css:
                    if self.this_min < self.css_baseline:   # the queue was not ours
                        self.css = False
                else:
                    thresh = max(RTT_THRESH_LOW, min(self.last_min / 8, RTT_THRESH_HIGH))
                    if self.this_min >= self.last_min + thresh:
                        self.css_baseline = self.this_min
                        self.css = True
                        self.css_rounds = 0
        w.cwnd += s.delivered / CSS_DIVISOR if self.css else <double>s.delivered


cdef enum:                          # Linux's HyStart
    HYSTART_SAMPLES = 8             # RTT samples of a round, before its least counts
    HYSTART_LOW = 16                # segments: with fewer it does not look
cdef double HYSTART_GAP = 2e-3      # between ACKs of one train
cdef double HYSTART_BURST = 1e-3    # that a train may be held together for, at most
cdef double HYSTART_BYTES = 262144  # that leave in one burst
cdef double SETTLE = 1.0            # after a loss, RTT samples say nothing
cdef double TICK = 1.0 / 32         # s between two looks at the curve, if the window has not changed
cdef double LINUX_BETA = 717.0 / 1024
cdef double LINUX_SLOWEST = 15.0 / 8    # window's worth of ACKs for which Reno, cut by that much, would grow by a segment
cdef double LINUX_C = 10 * 41 / 1024.0  # segments per cubic second


cdef class LinuxCubic(ByTime):
    """CUBIC as Linux 6.18 has it, which differs from RFC 9438 and RFC 9406 in what a path shows.

    It leaves slow start for good by HyStart (Ha, Rhee 2011): when a train of ACKs is half as long as the least round trip, or
    round trips are an eighth longer than that; so it loses much less where a queue is short. It follows the curve by a count of
    ACKs for each segment of growth, two at least. Where Reno would be faster, it grows by 8/15 of a segment a round trip, also beyond
    the window of the last loss, from where RFC 9438 has a whole one; so random loss costs it more. tests/kernel/test_live_transfers.py
    compares it with the kernel's on the same paths.
    """
    name = "linux-cubic"
    cdef double last_max, origin, k                 # segments, segments, s
    cdef double reno, acks, count                   # segments, segments acknowledged in this epoch, ACKs for one more
    cdef double last_cwnd, last_time
    cdef double delay_min                           # s; 0: not known
    # HyStart
    cdef double round_start, last_ack, round_min    # s; round_start -1: none has begun
    cdef uint32_t round_end
    cdef uint16_t samples
    cdef Flag found

    def __init__(self):
        self.forget()

    cdef void forget(self) noexcept:
        self.last_max = self.origin = self.k = self.reno = self.acks = self.count = self.last_cwnd = self.delay_min = 0
        self.epoch = self.last_time = self.round_start = -1
        self.found = False

    cdef void begin_round(self, Window* w) noexcept:
        self.round_start = self.last_ack = w.now
        self.round_end = w.nxt
        self.round_min = 1e300
        self.samples = 0

    cdef double reduce(self, Window* w, bint ecn) noexcept:
        cdef double cwnd = w.cwnd / w.mss
        self.epoch = -1
        self.last_max = cwnd * (1 + LINUX_BETA) / 2 if cwnd < self.last_max else cwnd
        return max(cwnd * LINUX_BETA, 2.0) * w.mss

    cdef void timeout(self, Window* w) noexcept:
        self.forget()

    cdef void acked(self, Window* w, const Sample* s) noexcept:
        if s.rtt < 0 or self.epoch >= 0 and w.now - self.epoch < SETTLE:
            return
        if self.delay_min == 0 or s.rtt < self.delay_min:
            self.delay_min = s.rtt
        if self.round_start < 0:
            self.begin_round(w)
        if not self.found and w.cwnd < w.ssthresh and w.cwnd >= HYSTART_LOW * <double>w.mss:
            self.hystart(w, s.rtt)

    cdef void hystart(self, Window* w, double rtt) noexcept:
        cdef double longest
        if before(self.round_end, w.una):
            self.begin_round(w)
        if w.now - self.last_ack <= HYSTART_GAP:
            self.last_ack = w.now
            longest = self.delay_min + (min(HYSTART_BURST, HYSTART_BYTES * w.srtt / (2 * w.cwnd)) if w.srtt > 0 else 0)
            if w.now - self.round_start > (longest if w.pacing else longest / 2):
                self.found = True
        self.round_min = min(self.round_min, rtt)
        if self.samples < HYSTART_SAMPLES:
            self.samples += 1
        elif self.round_min > self.delay_min + max(RTT_THRESH_LOW, min(self.delay_min / 8, RTT_THRESH_HIGH)):
            self.found = True
        if self.found:
            w.ssthresh = w.cwnd

    cdef void grow(self, Window* w, const Sample* s) noexcept:
        cdef double cwnd = w.cwnd / w.mss, acked = <double>s.delivered / w.mss, grown
        if w.cwnd < w.ssthresh:
            grown = min(cwnd + acked, max(w.ssthresh / w.mss, cwnd))
            acked -= grown - cwnd
            cwnd = grown
            w.cwnd = cwnd * w.mss
            if acked <= 0:
                return
        self.follow(cwnd, acked, w.now)
        w.cwnd = (cwnd + acked / self.count) * w.mss

    cdef void follow(self, double cwnd, double acked, double now) noexcept:
        """How many ACKs another segment takes."""
        cdef double t, target
        self.acks += acked
        if cwnd == self.last_cwnd and now - self.last_time <= TICK:
            return
        self.last_cwnd = cwnd
        self.last_time = now
        if self.epoch < 0:
            self.epoch = now
            self.acks = acked
            self.reno = cwnd
            self.k = cbrt((self.last_max - cwnd) / LINUX_C) if self.last_max > cwnd else 0.0
            self.origin = max(self.last_max, cwnd)
        t = now - self.epoch + self.delay_min - self.k
        target = self.origin + LINUX_C * t * t * t
        self.count = cwnd / (target - cwnd) if target > cwnd else 100 * cwnd
        if self.last_max == 0:
            self.count = min(self.count, 20.0)          # nothing was lost yet: 5 % a round trip at least
        while self.acks > LINUX_SLOWEST * cwnd:
            self.acks -= LINUX_SLOWEST * cwnd
            self.reno += 1
        if self.reno > cwnd:
            self.count = min(self.count, cwnd / (self.reno - cwnd))
        self.count = max(self.count, 2.0)


cdef class Dctcp(Reno):
    """RFC 8257: the window is cut in proportion to the share of marked bytes."""
    name = "dctcp"
    cdef readonly double alpha
    cdef uint64_t bytes_acked, bytes_marked
    cdef uint32_t window_end
    cdef bint running

    def __init__(self):
        self.accurate_ecn = True
        self.alpha = 1.0

    cdef double reduce(self, Window* w, bint ecn) noexcept:
        return max(w.cwnd * (1 - (self.alpha if ecn else 1.0) / 2), 2.0 * w.mss)

    cdef void acked(self, Window* w, const Sample* s) noexcept:
        self.bytes_acked += s.delivered
        if s.ece:
            self.bytes_marked += s.delivered
        if not self.running or not before(w.una, self.window_end):
            if self.bytes_acked:
                self.alpha += (<double>self.bytes_marked / self.bytes_acked - self.alpha) / 16
            self.bytes_acked = 0
            self.bytes_marked = 0
            self.window_end = w.nxt
            self.running = True


cdef enum:                          # BBR's modes
    STARTUP = 0
    DRAIN = 1
    PROBE_BW = 2
    PROBE_RTT = 3
cdef double HIGH_GAIN = 2.885       # 2 / ln 2: doubles the rate each round
cdef double* CYCLE = [1.25, 0.75, 1, 1, 1, 1, 1, 1]
cdef double MIN_RTT_WINDOW = 10.0
cdef double PROBE_RTT_TIME = 0.2
cdef enum:
    BW_ROUNDS = 10                  # of the maximum filter
    FULL_ROUNDS = 3                 # without growth: the pipe is full


cdef class Bbr(CongestionControl):
    """BBR v1 (draft-cardwell-iccrg-bbr-congestion-control-00): a model of bottleneck rate and round trip sets both."""
    name = "bbr"
    cdef readonly double bandwidth          # bytes/s
    cdef int mode
    cdef double gain, cwnd_gain
    cdef double best[BW_ROUNDS]             # the maximum of each of the last rounds
    cdef uint64_t best_round[BW_ROUNDS]
    cdef uint64_t round, next_round
    cdef bint round_start, full, restore
    cdef double full_bandwidth
    cdef int full_count, phase
    cdef double phase_at, min_rtt, min_rtt_at, probe_done
    cdef double prior_cwnd

    def __init__(self):
        self.models = True

    cdef void start(self, Window* w) noexcept:
        self.mode = STARTUP
        self.gain = self.cwnd_gain = HIGH_GAIN
        self.min_rtt = w.srtt if w.srtt > 0 else 1e300
        self.min_rtt_at = w.now
        w.ssthresh = 1e18
        w.pacing = HIGH_GAIN * w.cwnd / (w.srtt if w.srtt > 0 else 1e-3)

    cdef double reduce(self, Window* w, bint ecn) noexcept:
        if self.mode != PROBE_RTT:
            self.prior_cwnd = w.cwnd
        return w.ssthresh                   # loss is no signal

    cdef void timeout(self, Window* w) noexcept:
        self.prior_cwnd = max(self.prior_cwnd, w.cwnd)
        self.full_bandwidth = 0
        self.restore = True

    cdef void acked(self, Window* w, const Sample* s) noexcept:
        cdef double rate
        self.round_start = False
        if s.interval > 0 and s.prior_at > 0:
            if s.prior_delivered >= self.next_round:
                self.next_round = w.delivered
                self.round += 1
                self.round_start = True
            rate = (w.delivered - s.prior_delivered) / s.interval
            if not s.app_limited or rate >= self.bandwidth:
                self.note_rate(rate)
        self.is_pipe_full(s)
        self.update_mode(w, s)
        self.set_pacing(w)
        self.set_cwnd(w, s)

    cdef void note_rate(self, double rate) noexcept:
        """The maximum over the last rounds that said something; silence does not make it forget."""
        cdef int i = self.round % BW_ROUNDS
        if self.best_round[i] != self.round:
            self.best_round[i] = self.round
            self.best[i] = 0
        self.best[i] = max(self.best[i], rate)
        self.bandwidth = 0
        for i in range(BW_ROUNDS):
            if self.best_round[i] + BW_ROUNDS > self.round:
                self.bandwidth = max(self.bandwidth, self.best[i])

    cdef double target(self, Window* w, double gain) noexcept:
        if self.min_rtt > 1e299 or self.bandwidth == 0:
            return 10.0 * w.mss
        return gain * self.bandwidth * self.min_rtt + 3.0 * w.mss

    cdef void is_pipe_full(self, const Sample* s) noexcept:
        if self.full or not self.round_start or s.app_limited:
            return
        if self.bandwidth >= self.full_bandwidth * 1.25:
            self.full_bandwidth = self.bandwidth
            self.full_count = 0
            return
        self.full_count += 1
        self.full = self.full_count >= FULL_ROUNDS

    cdef void update_mode(self, Window* w, const Sample* s) noexcept:
        cdef bint expired = w.now > self.min_rtt_at + MIN_RTT_WINDOW
        if self.mode == STARTUP and self.full:
            self.mode = DRAIN
            self.gain = 1 / HIGH_GAIN
            self.cwnd_gain = HIGH_GAIN
        if self.mode == DRAIN and w.pipe <= self.target(w, 1.0):
            self.probe_bandwidth(w)
        if self.mode == PROBE_BW:
            self.cycle(w, s)
        if s.rtt >= 0 and (s.rtt < self.min_rtt or expired):
            self.min_rtt = s.rtt
            self.min_rtt_at = w.now
        if expired and self.mode != PROBE_RTT:
            self.mode = PROBE_RTT
            self.gain = self.cwnd_gain = 1.0
            self.prior_cwnd = w.cwnd
            self.probe_done = 0
        w.idling = self.mode == PROBE_RTT
        if self.mode == PROBE_RTT:
            if self.probe_done == 0 and w.pipe <= 4 * w.mss:
                self.probe_done = w.now + max(PROBE_RTT_TIME, w.srtt)
            elif self.probe_done and w.now > self.probe_done:
                self.min_rtt_at = w.now
                w.cwnd = max(w.cwnd, self.prior_cwnd)
                if self.full:
                    self.probe_bandwidth(w)
                else:
                    self.mode = STARTUP
                    self.gain = self.cwnd_gain = HIGH_GAIN

    cdef void probe_bandwidth(self, Window* w) noexcept:
        self.mode = PROBE_BW
        self.cwnd_gain = 2.0
        # any phase but the one that drains, drawn from what is this connection's own
        self.phase = <int>(siphash13(w.una, w.nxt, self.round, 0xBB) % 7)
        if self.phase >= 1:
            self.phase += 1
        self.gain = CYCLE[self.phase]
        self.phase_at = w.now

    cdef void cycle(self, Window* w, const Sample* s) noexcept:
        cdef bint over = w.now - self.phase_at > self.min_rtt
        if self.gain > 1:
            over = over and (s.lost > 0 or s.prior_inflight >= self.target(w, self.gain) - 3.0 * w.mss)
        elif self.gain < 1:
            over = over or s.prior_inflight <= self.target(w, 1.0)
        if over:
            self.phase = (self.phase + 1) % 8
            self.gain = CYCLE[self.phase]
            self.phase_at = w.now

    cdef void set_pacing(self, Window* w) noexcept:
        cdef double rate = self.gain * self.bandwidth * 0.99
        if self.bandwidth > 0 and (self.full or rate > w.pacing):
            w.pacing = rate

    cdef void set_cwnd(self, Window* w, const Sample* s) noexcept:
        cdef double target = self.target(w, self.cwnd_gain)
        if s.lost:
            w.cwnd = max(w.cwnd - s.lost, <double>w.mss)
        if self.restore and not w.recovering:
            w.cwnd = max(w.cwnd, self.prior_cwnd)
            self.restore = False
        if w.recovering:
            w.cwnd = max(w.cwnd, w.pipe + <double>s.delivered)
            self.restore = True
        elif self.full:
            w.cwnd = min(w.cwnd + s.delivered, target)
        elif w.cwnd < target or w.delivered < 10 * w.mss:
            w.cwnd += s.delivered
        w.cwnd = max(w.cwnd, 4.0 * w.mss)
        if self.mode == PROBE_RTT:
            w.cwnd = min(w.cwnd, 4.0 * w.mss)
