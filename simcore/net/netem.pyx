from simcore.engine.draws cimport Draws
from simcore.engine.frame cimport Frame, frame_need

from libc.math cimport pow

DISTRIBUTIONS = ("uniform", "normal", "pareto", "paretonormal")


def _probability(name, value):
    value = float(value)
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name}: {value:g} is no probability, expected 0 to 1")
    return value


cdef class Netem:
    """Impairments of a wire: loss, jitter, duplication, corruption, reordering.

    They happen to a frame when its last bit has left the transmitter, so a lost frame has used the rate.

    Parameters
    ----------
    rng : numpy.random.Generator
        This wire's own stream.
    jitter : float
        s; half the width of a uniform spread around the latency, the standard deviation of a normal one.
        Frames overtake each other when it is larger than their spacing, as with netem.
    distribution : {"uniform", "normal", "pareto", "paretonormal"}
        The last two as iproute2 makes its tables.
    loss : float or dict
        A probability, or Gilbert-Elliott's model as `{"p": , "r": , "1-h": , "1-k": }`: chance of going bad,
        of going good again (default 1 - p), of losing a frame while bad (default 1) and while good (default 0).
    loss_correlation, jitter_correlation : float
        Of a draw with the one before, 0 to 1.
    duplicate, corrupt : float
        Probabilities of a second copy; of one flipped bit.
    reorder : float
        Probability that a frame is sent on at once instead of after the latency; `gap`: only each gap-th may.

    Raises
    ------
    ValueError
        For what is no probability, no time or no known distribution.
    """

    def __init__(self, rng, double jitter=0.0, str distribution="uniform", loss=0.0, loss_correlation=0.0, jitter_correlation=0.0,
                 duplicate=0.0, corrupt=0.0, reorder=0.0, int gap=1):
        if jitter < 0:
            raise ValueError(f"jitter: {jitter:g} s is negative")
        if distribution not in DISTRIBUTIONS:
            raise ValueError(f"distribution: {distribution!r} is not one of {', '.join(DISTRIBUTIONS)}")
        if gap < 1:
            raise ValueError(f"gap: {gap} is not at least 1")
        self.draws = Draws(rng)
        self.jitter = jitter
        self.distribution = DISTRIBUTIONS.index(distribution)
        if isinstance(loss, dict):
            unknown = set(loss) - {"p", "r", "1-h", "1-k"}
            if unknown or "p" not in loss:
                raise ValueError(f"loss: expected a probability or p, r, 1-h and 1-k, got {loss}")
            self.gilbert = True
            self.p = _probability("loss.p", loss["p"])
            self.r = _probability("loss.r", loss.get("r", 1 - self.p))
            self.loss_bad = _probability("loss.1-h", loss.get("1-h", 1))
            self.loss_good = _probability("loss.1-k", loss.get("1-k", 0))
        else:
            self.loss = _probability("loss", loss)
        self.loss_correlation = _probability("loss_correlation", loss_correlation)
        self.jitter_correlation = _probability("jitter_correlation", jitter_correlation)
        self.duplicate = _probability("duplicate", duplicate)
        self.corrupt = _probability("corrupt", corrupt)
        self.reorder = _probability("reorder", reorder)
        self.gap = gap
        self.keeps_order = self.jitter == 0 and self.reorder == 0

    cdef double correlated(self, double correlation, double* last) noexcept:
        cdef double u = self.draws.uniform()
        if correlation == 0:
            return u
        last[0] = (1 - correlation) * u + correlation * last[0]
        return last[0]

    cdef bint loses(self) noexcept:
        """Does the wire lose this frame?"""
        if self.gilbert:
            if self.bad:
                if self.draws.uniform() < self.r:
                    self.bad = False
            elif self.draws.uniform() < self.p:
                self.bad = True
            return self.draws.uniform() < (self.loss_bad if self.bad else self.loss_good)
        return self.loss > 0 and self.correlated(self.loss_correlation, &self.last_loss) < self.loss

    cdef double delay(self, double latency) noexcept:
        """Seconds on the wire, never negative."""
        cdef double u, x
        if self.reorder > 0:
            self.since += 1
            if self.since >= self.gap and self.draws.uniform() < self.reorder:
                self.since = 0
                return 0.0
        if self.jitter == 0:
            return latency
        if self.distribution == UNIFORM:
            x = 2 * self.correlated(self.jitter_correlation, &self.last_jitter) - 1
        elif self.distribution == NORMAL:
            x = self.draws.normal()
        else:
            u = self.draws.uniform()
            x = (pow(1 - u, -1.0 / 3) - 1.5) * 2 / 3
            if self.distribution == PARETONORMAL:
                x = 0.75 * x + 0.25 * self.draws.normal()
        x = latency + self.jitter * x
        return x if x > 0 else 0.0

    cdef void flip(self, Frame* f) noexcept:
        """Flip one bit anywhere in the frame; its checksums are left to find it."""
        cdef unsigned int bit = <unsigned int>(self.draws.uniform() * f.len * 8)
        frame_need(f, (bit >> 3) + 1)
        f.data[bit >> 3] ^= 1 << (bit & 7)
        f.checksum_ok = 0
