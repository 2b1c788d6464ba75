"""IPv4 reassembly as Linux does it before PREROUTING (RFC 791, RFC 5722's overlap rule).

Fragments are rare and this is not the hot path, so it is plain Python over `bytes`.
"""
from __future__ import annotations

from dataclasses import dataclass, field

from natfast.checksum import internet_checksum

MF, DF, OFFSET = 0x2000, 0x4000, 0x1FFF
CE = 3
OVERHEAD = 768      # bytes of buffer and bookkeeping per fragment


@dataclass
class Datagram:
    """A reassembled IPv4 packet and what refragmentation needs to know."""

    data: bytes
    max_size: int
    """Size of the largest fragment with its header: no larger ones are sent on."""
    df: bool
    """Whether DF is set anew on what is sent on (the largest fragment had it)."""
    sizes: tuple[int, ...]
    """Payload bytes of each fragment in order of offset: Linux sends the same pieces on."""


@dataclass
class _Queue:
    expires: float
    where: int
    pieces: list[tuple[int, bytes]] = field(default_factory=list)
    length: int = 0
    meat: int = 0
    last_in: bool = False
    head: bytes = b""
    first: bytes = b""
    max_size: int = 0
    max_df_size: int = 0
    arrival: int = 0
    """Which of its sender's fragments came last."""
    ecn: int = 0
    """Bit n is set if a fragment had the ECN codepoint n."""


def with_header(header: bytes, total: int, frag: int) -> bytes:
    """`header` with a new total length and fragment word, and the checksum that follows."""
    h = bytearray(header)
    h[2:4] = total.to_bytes(2, "big")
    h[6:8] = frag.to_bytes(2, "big")
    h[10:12] = b"\0\0"
    h[10:12] = internet_checksum(h).to_bytes(2, "big")
    return bytes(h)


class Defragmenter:
    """Reassembly queues of one namespace.

    Parameters
    ----------
    timeout : float
        `net.ipv4.ipfrag_time`, seconds from the first fragment that came.
    high_thresh : int
        `net.ipv4.ipfrag_high_thresh`: with more bytes than this waiting, fragments are dropped. Each is counted with
        the `OVERHEAD` bytes that Linux keeps beside it.
    max_dist : int
        `net.ipv4.ipfrag_max_dist`: a queue starts anew if more fragments of other datagrams than this came from the
        same sender since its last; 0 switches it off.
    """

    def __init__(self, timeout: float = 30.0, high_thresh: int = 4 << 20, max_dist: int = 64) -> None:
        self.timeout = timeout
        self.high_thresh = high_thresh
        self.max_dist = max_dist
        self.waiting = 0
        self.arrivals: dict[bytes, int] = {}
        self.queues: dict[tuple[bytes, int, int], _Queue] = {}
        self.failed = 0

    def push(self, packet: bytes, now: float, where: int = 0) -> Datagram | None:
        """Take one fragment (an IPv4 packet); the whole datagram if it is now complete.

        A duplicate is dropped; an overlap, a contradiction about the length, or an empty fragment
        discards the queue.
        """
        ihl = (packet[0] & 15) * 4
        word = int.from_bytes(packet[6:8], "big")
        offset = (word & OFFSET) * 8
        payload = packet[ihl:]
        end = offset + len(payload)
        key = (packet[12:20], int.from_bytes(packet[4:6], "big"), packet[9] | where << 8)
        if self.waiting > self.high_thresh:
            self.failed += 1
            return None
        arrival = self.arrivals[packet[12:16]] = self.arrivals.get(packet[12:16], 0) + 1
        q = self.queues.get(key)
        if q is not None and self.max_dist and q.pieces and arrival - q.arrival > self.max_dist:
            self._discard(key)
            q = None
        if q is None:
            q = self.queues[key] = _Queue(now + self.timeout, where)
        q.arrival = arrival
        if not word & MF:
            if end < q.length or (q.last_in and end != q.length):
                self._discard(key)
                return None
            q.last_in = True
            q.length = end
        else:
            end &= ~7
            payload = payload[:end - offset]
            if end > q.length:
                if q.last_in:
                    self._discard(key)
                    return None
                q.length = end
        if end <= offset:
            self._discard(key)
            return None
        if not self._insert(q, offset, payload):
            runs = self._runs(q)
            if any(a <= offset and end <= b for a, b in runs):
                return None
            self._discard(key)
            return None
        q.meat += len(payload)
        self.waiting += len(payload) + OVERHEAD
        size = len(payload) + ihl
        q.max_size = max(q.max_size, size)
        q.ecn |= 1 << (packet[1] & 3)
        if word & DF:
            q.max_df_size = max(q.max_df_size, size)
        if offset == 0:
            q.head = packet[:ihl]
            q.first = packet
        if not (q.head and q.last_in and q.meat == q.length):
            return None
        self._forget(key)
        total = len(q.head) + q.length
        mixed = q.ecn & ~1
        if total > 65535 or q.ecn & 1 and mixed:        # RFC 3168 5.3: Not-ECT and ECT fragments do not mix
            self.failed += 1
            return None
        if q.ecn & 1 << CE and mixed != 1 << CE:
            q.head = q.head[:1] + bytes([q.head[1] | CE]) + q.head[2:]
        df = q.max_df_size == q.max_size
        return Datagram(with_header(q.head, total, DF if df else 0) + b"".join(p for _, p in q.pieces),
                        max(q.max_df_size, q.max_size), df, tuple(len(p) for _, p in q.pieces))

    def expire(self, now: float) -> list[tuple[bytes, int]]:
        """Give up on queues past their time: the first fragment (empty if it never came) and where it was."""
        gone = [k for k, q in self.queues.items() if q.expires <= now]
        return [(q.first, q.where) for q in map(self._forget, gone)]

    def clear(self) -> None:
        """Forget everything."""
        self.queues.clear()
        self.arrivals.clear()
        self.waiting = 0

    def next_expiry(self) -> float:
        """When `expire` next has something to do; infinity if never."""
        return min((q.expires for q in self.queues.values()), default=float("inf"))

    def _forget(self, key: tuple[bytes, int, int]) -> _Queue:
        q = self.queues.pop(key)
        self.waiting -= sum(len(p) + OVERHEAD for _, p in q.pieces)
        if not self.queues:
            self.arrivals.clear()
        return q

    def _discard(self, key: tuple[bytes, int, int]) -> None:
        self._forget(key)
        self.failed += 1

    @staticmethod
    def _runs(q: _Queue) -> list[tuple[int, int]]:
        runs: list[tuple[int, int]] = []
        for at, piece in q.pieces:
            if runs and runs[-1][1] == at:
                runs[-1] = (runs[-1][0], at + len(piece))
            else:
                runs.append((at, at + len(piece)))
        return runs

    @staticmethod
    def _insert(q: _Queue, offset: int, payload: bytes) -> bool:
        """Keep the pieces sorted; False if this one meets another."""
        at = len(q.pieces)
        while at and q.pieces[at - 1][0] >= offset + len(payload):
            at -= 1
        if at and q.pieces[at - 1][0] + len(q.pieces[at - 1][1]) > offset:
            return False
        q.pieces.insert(at, (offset, payload))
        return True


def fragment(packet: bytes, size: int, keep_df: bool = False, sizes: tuple[int, ...] = (),
             options_read: bool = True) -> list[bytes]:
    """Cut an IPv4 packet into fragments of at most `size` bytes with their header (RFC 791 3.2).

    `sizes` gives the pieces that it came in; they are kept if all fit (DF is then lost, as in Linux).
    Options that are not copied on fragmentation become NOPs in all but the first, if they were read at all: a
    bridge does not.
    """
    ihl = (packet[0] & 15) * 4
    word = int.from_bytes(packet[6:8], "big")
    base = (word & OFFSET) * 8
    flags = (word & 0x8000) | (DF if keep_df else 0)
    if sizes and sum(sizes) == len(packet) - ihl and all(n + ihl <= size for n in sizes):
        return _pieces(packet, ihl, word & 0x8000, sizes, options_read)
    room = (size - ihl) & ~7
    if room <= 0:
        raise ValueError(f"an MTU of {size} has no room for data after a header of {ihl} bytes")
    head, body = packet[:ihl], packet[ihl:]
    later = _later_options(head) if options_read else head
    out = []
    for at in range(0, len(body), room):
        piece = body[at:at + room]
        more = MF if at + len(piece) < len(body) or word & MF else 0
        h = head if at == 0 else later
        out.append(with_header(h, len(h) + len(piece), flags | more | (base + at) >> 3) + piece)
    return out


def _pieces(packet: bytes, ihl: int, flags: int, sizes: tuple[int, ...], options_read: bool) -> list[bytes]:
    head, out, at = packet[:ihl], [], 0
    later = _later_options(head) if options_read else head
    for n in sizes:
        h = later if at else head
        more = MF if ihl + at + n < len(packet) else 0
        out.append(with_header(h, ihl + n, flags | more | at >> 3) + packet[ihl + at:ihl + at + n])
        at += n
    return out


def _later_options(head: bytes) -> bytes:
    h = bytearray(head)
    i = 20
    while i < len(h):
        if h[i] == 0:
            break
        if h[i] == 1:
            i += 1
            continue
        n = h[i + 1] if i + 1 < len(h) else 0
        if n < 2 or i + n > len(h):
            break
        if not h[i] & 0x80:
            h[i:i + n] = b"\x01" * n
        i += n
    return bytes(h)
