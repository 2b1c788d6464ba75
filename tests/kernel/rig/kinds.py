"""Random conversations of one kind each, to look where `cases.rand_case` seldom goes.

Every generator takes a `random.Random` and gives steps `(wire, frame)` or `(wait, wire, frame)`.
"""
import struct
from scapy.all import GRE, ICMP, IP, SCTP, TCP, UDP, Ether, Padding, Raw, fragment
from cases import A, B, C1, C2, GW, H, HOST, MSS, RT, W, W2, c1, c2, i, icmp_error, ip, named, o, rand_case, tcp_open, up


def crc32c(data):
    crc = 0xFFFFFFFF
    for b in data:
        crc ^= b
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


# --- SCTP ------------------------------------------------------------------------------------------

CHUNKS = {"DATA": 0, "INIT": 1, "INIT_ACK": 2, "SACK": 3, "HEARTBEAT": 4, "HEARTBEAT_ACK": 5, "ABORT": 6, "SHUTDOWN": 7,
          "SHUTDOWN_ACK": 8, "ERROR": 9, "COOKIE_ECHO": 10, "COOKIE_ACK": 11, "SHUTDOWN_COMPLETE": 14}


def chunk(name, tag=0, size=None, flags=0):
    kind = CHUNKS[name] if isinstance(name, str) else name
    body = struct.pack("!IIHHI", tag, 65535, 1, 1, 1) if kind in (1, 2) else b"\0" * 12 if kind == 0 else b"\0" * 4
    return struct.pack("!BBH", kind, flags, 4 + len(body) if size is None else size) + body


def sctp(sp, dp, vtag, chunks, good=True):
    body = struct.pack("!HHII", sp, dp, vtag, 0) + b"".join(chunks)
    crc = crc32c(body) if good else 0x12345678
    return Raw(body[:8] + struct.pack("<I", crc) + body[12:])


def sctp_case(rng):
    """An association, mostly in order, with strays, wrong tags and bundles."""
    s, tags = [], {}
    script = [("INIT", 0), ("INIT_ACK", 1), ("COOKIE_ECHO", 0), ("COOKIE_ACK", 1), ("DATA", 0), ("SACK", 1), ("HEARTBEAT", 0),
              ("HEARTBEAT_ACK", 1), ("SHUTDOWN", 0), ("SHUTDOWN_ACK", 1), ("SHUTDOWN_COMPLETE", 0)]
    flows = [(rng.randrange(20000, 30000), c1, A), (rng.randrange(30000, 40000), c2, B)]
    at = [0, 0]
    for _ in range(24):
        k = rng.randrange(2)
        sp, cl, src = flows[k]
        mine, theirs = tags.setdefault(k, (rng.randrange(1, 1 << 32), rng.randrange(1, 1 << 32)))
        if rng.random() < 0.7:
            name, inward = script[at[k] % len(script)]
            at[k] += 1
        else:
            name, inward = rng.choice(list(CHUNKS)), rng.random() < 0.5
        names = [name] + ([rng.choice(["DATA", "SACK", "HEARTBEAT", "SHUTDOWN", "ABORT"])] if rng.random() < 0.15 else [])
        vtag = mine if inward else theirs
        if name == "INIT": vtag = 0
        if rng.random() < 0.06: vtag = rng.choice([0, mine, theirs, 99])
        chunks = [chunk(n, theirs if inward else mine, flags=rng.choice([0, 0, 0, 1]) if n in ("ABORT", "SHUTDOWN_COMPLETE") else 0) for n in names]
        if rng.random() < 0.03: chunks.append(chunk(rng.choice(list(CHUNKS)), size=rng.choice([0, 3, 4, 5, 400])))
        if rng.random() < 0.03: chunks.append(chunk(rng.choice([13, 15, 64, 200])))
        body = sctp(7001 if inward else sp, sp if inward else 7001, vtag, chunks, rng.random() > 0.04)
        p = ip(W, H, ttl=57, proto=132) / body if inward else ip(src, W, proto=132) / body
        s.append(up(p) if inward else cl(p))
    return s


def sctp_again_case(rng):
    """One association whose ends begin again and again, with two tags each: which INIT and INIT-ACK count."""
    s, sp, tags = [], rng.randrange(20000, 30000), ((11, 12), (21, 22))
    names = rng.choice([["INIT", "INIT_ACK", "COOKIE_ACK"], ["INIT", "INIT_ACK", "COOKIE_ACK", "COOKIE_ECHO", "HEARTBEAT"], list(CHUNKS)])
    for n in range(14):
        name, inward = (rng.choice(names), rng.random() < 0.5) if n else ("INIT", False)
        vtag = 0 if name == "INIT" else tags[not inward][rng.random() < 0.15]
        body = sctp(7001 if inward else sp, sp if inward else 7001, vtag, [chunk(name, tags[inward][rng.random() < 0.3])])
        s.append(up(ip(W, H, ttl=57, proto=132) / body) if inward else c1(ip(A, W, proto=132) / body))
    return s


def sctp_table():
    """Every (state, direction, chunk): the way to each state, then the chunk. Keyed by its name."""
    ways = {"NONE": [], "CLOSED": [("INIT", 0)], "COOKIE_WAIT": [("INIT", 0), ("INIT_ACK", 1)]}
    ways["COOKIE_ECHOED"] = ways["COOKIE_WAIT"] + [("COOKIE_ECHO", 0)]
    ways["ESTABLISHED"] = ways["COOKIE_ECHOED"] + [("COOKIE_ACK", 1)]
    ways["SHUTDOWN_SENT"] = ways["ESTABLISHED"] + [("SHUTDOWN", 0)]
    ways["SHUTDOWN_RECD"] = ways["ESTABLISHED"] + [("SHUTDOWN", 1)]
    ways["SHUTDOWN_ACK_SENT"] = ways["SHUTDOWN_SENT"] + [("SHUTDOWN_ACK", 1)]
    ways["HEARTBEAT_SENT"] = [("HEARTBEAT", 0)]
    out, sp = {}, 20000

    def step(sp, name, inward, tag=None):
        vtag = 0 if name == "INIT" else (111 if inward else 222)
        body = sctp(7001 if inward else sp, sp if inward else 7001, vtag if tag is None else tag, [chunk(name, 222 if inward else 111)])
        return up(ip(W, H, ttl=57, proto=132) / body) if inward else c1(ip(A, W, proto=132) / body)
    for state, way in ways.items():
        for inward in (0, 1):
            for name in CHUNKS:
                for tag in (None, 5):
                    sp += 1
                    out[f"{state} / {'reply' if inward else 'original'} / {name}{'' if tag is None else ', wrong tag'}"] = (
                        sp, [step(sp, n, d) for n, d in way], step(sp, name, inward, tag))
    return out


# --- TCP: every state, direction and flag combination -----------------------------------------------

def tcp_table():
    """Every (state, direction, flags of 64): the way to each state, then the segment. Keyed by its name."""
    def seg(sp, inward, flags, seq, ack, win=502):
        body = TCP(sport=80 if inward else sp, dport=sp if inward else 80, flags=flags, seq=seq, ack=ack, window=win,
                   options=MSS if "S" in str(flags) and not isinstance(flags, int) else [])
        return up(ip(W, H, ttl=57) / body) if inward else c1(ip(A, W) / body)
    S, SA, AK = (0, "S", 1000, 0, 64240), (1, "SA", 5000, 1001, 65160), (0, "A", 1001, 5001)
    est = [S, SA, AK]
    ways = {
        "NONE": ([], (1000, 0), (5000, 0)), "SYN_SENT": ([S], (1000, 0), (5000, 1001)), "SYN_RECV": ([S, SA], (1001, 5001), (5001, 1001)),
        "ESTABLISHED": (est, (1001, 5001), (5001, 1001)),
        "FIN_WAIT": (est + [(0, "FA", 1001, 5001)], (1002, 5001), (5001, 1002)),
        "FIN_WAIT by server": (est + [(1, "FA", 5001, 1001)], (1001, 5002), (5002, 1001)),
        "CLOSE_WAIT": (est + [(0, "FA", 1001, 5001), (1, "A", 5001, 1002)], (1002, 5001), (5001, 1002)),
        "LAST_ACK": (est + [(0, "FA", 1001, 5001), (1, "A", 5001, 1002), (1, "FA", 5001, 1002)], (1002, 5002), (5002, 1002)),
        "TIME_WAIT": (est + [(0, "FA", 1001, 5001), (1, "A", 5001, 1002), (1, "FA", 5001, 1002), (0, "A", 1002, 5002)], (1002, 5002), (5002, 1002)),
        "CLOSE": (est + [(0, "R", 1001, 0)], (1001, 5001), (5001, 1001)),
        "CLOSE by server": (est + [(1, "R", 5001, 0)], (1001, 5001), (5001, 1001)),
        "SYN_SENT2": ([S, (1, "S", 5000, 0)], (1000, 5001), (5000, 1001)),
    }
    out, sp = {}, 20000
    for state, (way, mine, theirs) in ways.items():
        for inward in (0, 1):
            seq, ack = theirs if inward else mine
            for flags in range(64):
                sp += 1
                out[f"{state} / {'reply' if inward else 'original'} / flags {flags:02x}"] = (
                    sp, [seg(sp, *w) for w in way], seg(sp, inward, flags, seq, ack if flags & 16 else 0))
    return out


def tcp_case(rng):
    """One connection and many liberties: sequence numbers around the edges, SACK, windows, reopening, keepalives, simultaneous opens."""
    s = []
    sp = rng.randrange(20000, 40000)
    isn, irs = rng.choice([0, 1000, 0xFFFFFF00, rng.randrange(1 << 32)]), rng.choice([0, 5000, 0xFFFFFFF0, rng.randrange(1 << 32)])
    nxt, later = [isn, irs], False
    for n in range(26):
        inward = rng.random() < 0.5
        if n == 0: fl, inward = rng.choices(["S", "A", "SA"], [20, 2, 1])[0], rng.random() < 0.05
        elif n < 3 and rng.random() < 0.85: fl, inward = ("SA", True) if n == 1 else ("A", False)
        else: fl = rng.choices(["A", "PA", "FA", "R", "RA", "S", "SA", "F", "SF", "PAU", "U", "AE", "SEC"], [30, 20, 6, 3, 3, 4, 2, 1, 1, 1, 1, 1, 2])[0]
        # after a SYN-ACK that answers a later SYN, whether the kernel checks its sender's window differs from run to run
        later = later or n > 0 and fl in ("S", "SEC") and not inward
        if later and inward and fl == "SA": fl = "A"
        me, you = (1, 0) if inward else (0, 1)
        data = rng.randbytes(rng.choice([0, 0, 0, 1, 100, 536])) if "S" not in fl or rng.random() < 0.1 else b""
        seq, ack = nxt[me], nxt[you] if "A" in fl else rng.choice([0, 0, nxt[you]])
        if rng.random() < 0.15: seq += rng.choice([-1, 1, 2, -100, 600, 64239, 64240, 64241, 65160, 128478, 128479, 70000, 1 << 20, -(1 << 20), 1 << 31, rng.randrange(1 << 32)])
        if rng.random() < 0.10: ack += rng.choice([-1, 1, 2, -66000, -66001, -65999, 100, 1 << 31, rng.randrange(1 << 32)])
        if fl == "S" and n and rng.random() < 0.5: seq = nxt[me] = (nxt[me] + rng.choice([1, 1000, 500000, -5000])) & 0xFFFFFFFF
        opts = []
        if "S" in fl: opts = rng.choice([MSS, MSS, [("MSS", 1460)], [("MSS", 1460), ("WScale", rng.choice([0, 3, 14, 15]))], [("SAckOK", b"")], []])
        elif rng.random() < 0.15:
            e = (nxt[me] if rng.random() < 0.3 else nxt[you]) + rng.choice([0, 100, 1000, -100])
            opts = [("NOP", None), ("NOP", None), ("SAck", tuple((e + d) & 0xFFFFFFFF for d in rng.choice([(0, 100), (0, 100, 200, 300), (-50, 1)])))]
        elif rng.random() < 0.1: opts = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]
        w = rng.choice([0, 1, 502, 502, 65535])
        body = TCP(sport=80 if inward else sp, dport=sp if inward else 80, flags=fl, seq=seq & 0xFFFFFFFF, ack=ack & 0xFFFFFFFF, window=w, options=opts)
        if rng.random() < 0.9: nxt[me] = (seq + len(data) + ("S" in fl) + ("F" in fl)) & 0xFFFFFFFF
        p = (ip(W, H, ttl=57) if inward else ip(A, W)) / body / data
        s.append(up(p) if inward else c1(p))
        if rng.random() < 0.08: s.append(s[-1])
    return s


def pub_case(rng):
    """Connections to the published port from outside, from the neighbour, from the container itself, with every fault."""
    s = []
    for _ in range(24):
        cp = rng.choice([41000, 41001, 41002])
        fl = rng.choice(["S", "A", "PA", "FA", "R", "SA"])
        data = rng.randbytes(rng.choice([0, 3, 50]))
        seq, ack = rng.choice([100, 101, 104]), rng.choice([900, 901])
        t = lambda a, b: TCP(sport=a, dport=b, flags=fl, seq=seq, ack=ack, window=500) / (b"" if "S" in fl else data)
        ttl = rng.choice([64, 64, 64, 1, 2])
        kind = rng.randrange(6)
        if kind == 0: s.append(up(ip(rng.choice([W, W2]), H, ttl=ttl) / t(cp, 8080)))
        elif kind == 1: s.append(c1(ip(A, rng.choice([W, W2]), ttl=ttl) / t(80, cp)))
        elif kind == 2: s.append(c2(ip(B, H, ttl=ttl) / t(cp, 8080)))
        elif kind == 3: s.append(c1(ip(A, B, ttl=ttl) / t(80, cp), rng.choice([C2, GW])))
        elif kind == 4: s.append(up(ip(rng.choice([W, W2]), A, ttl=ttl) / t(cp, rng.choice([80, 81]))))
        else: s.append(c1(ip(A, rng.choice([H, "172.17.0.1", "127.0.0.1"]), ttl=ttl) / t(cp, rng.choice([8080, 22]))))
    return s


# --- the IP layer -----------------------------------------------------------------------------------

def gre_case(rng):
    s = []
    for _ in range(20):
        inward = rng.random() < 0.4
        version, key = rng.choice([0, 0, 1]), rng.choice([5, 9])
        if version: body = Raw(struct.pack("!BBHHH", 0x30, 0x81, rng.choice([0x880B, 0x880B, 0x0800]), 8, key) + b"\0\0\0\1inner"[:rng.choice([0, 4, 9])])
        elif rng.random() < 0.4: body = Raw(struct.pack("!HHI", 0x2000, 0x0800, key) + b"inner")
        else: body = Raw(struct.pack("!HH", 0, 0x0800)[:rng.choice([4, 4, 4, 3])] + b"inner"[:rng.choice([0, 5])])
        other = rng.choice([47, 47, 47, 50, 89, 4, 2, 103, 253, 58, rng.randrange(256)])
        p = (ip(rng.choice([W, W2]), H, ttl=57, proto=other) if inward else ip(A, rng.choice([W, W2]), proto=other)) / body
        s.append(up(p) if inward else c1(p))
    return s


def udplite_case(rng):
    s = []
    for _ in range(20):
        inward, proto = rng.random() < 0.4, rng.choice([136, 136, 17, 33])
        port, data = rng.choice([20001, 20002]), rng.randbytes(rng.choice([0, 1, 9, 40]))
        a, b = (53, port) if inward else (port, 53)
        src, dst = (W, H) if inward else (A, W)
        cover = rng.choice([0, 8, 8, 8 + len(data), 9, 7, 400]) if proto == 136 else rng.choice([8 + len(data)] * 4 + [8, 7, 400])
        n = len(data) + 8
        summed = n if cover == 0 else min(cover, n)
        head = struct.pack("!HHHH", a, b, cover, 0)
        pseudo = bytes(map(int, src.split("."))) + bytes(map(int, dst.split("."))) + struct.pack("!BBH", 0, proto, n if proto == 136 else cover)
        raw = pseudo + (head + data)[:summed]
        raw += b"\0" * (len(raw) & 1)
        c = sum(struct.unpack(f"!{len(raw) // 2}H", raw))
        while c >> 16: c = (c & 0xFFFF) + (c >> 16)
        c = (~c & 0xFFFF) or 0xFFFF
        if rng.random() < 0.1: c = rng.choice([0, 0x1234])
        p = ip(src, dst, proto=proto) / Raw(head[:6] + struct.pack("!H", c) + data)
        s.append(up(p) if inward else c1(p))
    return s


def option(rng):
    n = rng.randrange(0, 9)
    slots = rng.randrange(1, 4)
    if n == 0: return b"\x01"
    if n in (1, 2):
        size = 3 + 4 * slots
        return bytes([7, rng.choice([size] * 6 + [2, 3, 5]), rng.choice([4, 4, 8, 12, size, size + 1, 3, 0, 5, 6])]) + bytes(4 * slots)
    if n in (3, 4, 5):
        # a stamped time of day would differ: only full ones, ones for another host, and malformed ones
        flag = rng.choice([0, 1, 3, 3, 2, 4])
        size = 4 + (4 if flag == 0 else 8) * slots
        pointer = rng.choice([size + 1] * 4 + [size, size - 1, 4, 1]) if flag < 2 else rng.choice([5, 5, 9, 13, size, size + 1, 4, 1, 6])
        body = b"".join(bytes(map(int, rng.choice([W, W2, "10.1.2.3"]).split("."))) + (bytes(4) if flag else b"") for _ in range(slots))
        if flag == 3 and (pointer - 5) % 8: pointer = 5
        return bytes([68, rng.choice([size] * 6 + [3]), pointer, rng.choice([0, 0, 0, 1, 15]) << 4 | flag]) + body
    if n == 6: return bytes([148, rng.choice([4, 4, 3, 2]), 0, rng.choice([0, 0, 1])])
    if n == 7: return bytes([rng.choice([131, 137]), rng.choice([7, 7, 3, 2, 11]), rng.choice([4, 4, 3])]) + bytes(map(int, rng.choice([W2, "172.17.0.1", H]).split(".")))
    return bytes([rng.choice([130, 134, 25, 94, 0, 133]), rng.choice([4, 3, 2, 1, 11]), 1, 2])


def options_case(rng):
    s = []
    for _ in range(16):
        raw = b"".join(option(rng) for _ in range(rng.choice([1, 1, 1, 2, 3])))
        raw = (raw + bytes(-len(raw) % 4))[:40]
        sp = rng.choice([20001, 20002])
        dst = rng.choice([W, W, W, H, "172.17.0.1", B])
        body = rng.choice([UDP(sport=sp, dport=53) / b"abc", ICMP(type=8, id=sp, seq=1) / b"ping", TCP(sport=sp, dport=80, flags="S", seq=5)])
        if rng.random() < 0.25: s.append(up(ip(W, H, options=raw, ttl=rng.choice([57, 57, 1])) / rng.choice([UDP(sport=53, dport=sp) / b"abc", ICMP(type=8, id=4, seq=1) / b"hello"])))
        else: s.append(c1(ip(A, dst, options=raw, ttl=rng.choice([64, 64, 64, 1]), flags=rng.choice([0, "DF"])) / body, GW))
    return s


def fragments_case(rng):
    """Datagrams in pieces: any order, duplicates, overlaps, gaps, tiny pieces, DF, options, both ways and across the bridge."""
    s = []
    for k in range(rng.choice([1, 2, 3])):
        ident, size = rng.randrange(1, 65535), rng.choice([60, 200, 1400, 1480, 1500, 2600, 5000])
        way = rng.choice(["out", "out", "in", "bridge", "routed", "host"])
        opts = rng.choice([b""] * 4 + [b"\x01\x01\x01\x00", b"\x94\x04\x00\x00", b"\x07\x07\x04\0\0\0\0\0"])
        data = rng.randbytes(size)
        port = 20000 + k
        src, dst, a, b = {"out": (A, W, port, 53), "in": (W, H, 53, port), "bridge": (A, B, port, 53), "routed": (A, B, port, 53), "host": (A, "172.17.0.1", port, 53)}[way]
        body = rng.choice([UDP(sport=a, dport=b) / data, ICMP(type=8, id=port, seq=1) / data])
        if way == "in": s.append(c1(ip(A, W) / UDP(sport=port, dport=53) / b"q")); body = UDP(sport=53, dport=port) / data
        whole = IP(bytes(IP(src=src, dst=dst, id=ident, flags=0, ttl=rng.choice([64, 64, 1, 2]), tos=rng.choice([0, 0, 0, 1, 2, 3, 0xB8]), options=opts) / body))
        head = len(whole[IP].options) and whole.ihl * 4 or 20
        raw, at, pieces = bytes(whole)[head:], 0, []
        while at < len(raw):
            n = rng.choice([8, 16, 64, 512, 1400, 1480 - (head - 20), 1480]) // 8 * 8
            n = min(n, (1500 - head) // 8 * 8)
            if at + n >= len(raw) or len(pieces) > 20: n = min(len(raw) - at, (1500 - head) // 8 * 8)
            last = at + n >= len(raw)
            pieces.append((at, raw[at:at + n], not last)); at += n
        fault = rng.choice(["", "", "", "dup", "overlap", "gap", "shuffle", "shuffle", "odd", "df", "longer", "empty", "mtu"])
        if fault == "dup": pieces.insert(rng.randrange(len(pieces) + 1), rng.choice(pieces))
        if fault == "overlap" and len(pieces) > 1 and len(pieces[0][1]) < 1400: x = rng.choice(pieces[:-1]); pieces.insert(rng.randrange(len(pieces) + 1), (max(0, x[0] - 8), (x[1][:8] + x[1])[:1440], True))
        if fault == "gap" and len(pieces) > 1: pieces.pop(rng.randrange(len(pieces)))
        if fault == "shuffle": rng.shuffle(pieces)
        if fault == "odd" and len(pieces[0][1]) < 1400: x = pieces[0]; pieces[0] = (x[0], x[1] + b"zzz", x[2])
        if fault == "longer": pieces.append((len(raw) // 8 * 8 + 8, b"y" * 8, rng.choice([True, False])))
        if fault == "empty": pieces.insert(rng.randrange(len(pieces) + 1), (pieces[-1][0], b"", True))
        tos2 = rng.choice([0, 0, 0, 3])
        for off, piece, more in pieces:
            f = IP(bytes(whole)[:head])
            f.len, f.frag, f.flags = head + len(piece), off // 8, (1 if more else 0) | (2 if fault == "df" and rng.random() < 0.7 else 0)
            if off: f.tos |= tos2
            del f.chksum
            p = f / Raw(piece)
            s.append(up(p) if way == "in" else c1(p, C2 if way == "bridge" else GW))
    return s


def icmp_case(rng):
    """Flows of every protocol and ICMP errors about them, from both sides, with every kind of quotation."""
    s, flows = [], []
    for _ in range(22):
        sp = rng.randrange(20000, 30000)
        if not flows or rng.random() < 0.4:
            body = rng.choice([UDP(sport=sp, dport=53) / rng.randbytes(40), TCP(sport=sp, dport=80, flags="S", seq=9, options=MSS), ICMP(type=8, id=sp, seq=1) / b"qqq",
                               ICMP(type=13, id=sp, seq=1), Raw(b"\x02\x01\x00\x2c" * 4), UDP(sport=sp, dport=53, chksum=0) / b"none"])
            p = ip(A, W, **({"proto": 89} if isinstance(body, Raw) else {}), **({"options": b"\x01\x01\x01\x00"} if rng.random() < 0.1 else {})) / body
            flows.append(p); s.append(c1(p)); continue
        p = rng.choice(flows)
        if rng.random() < 0.7:
            q = p.copy(); q.src = H; q.ttl = rng.choice([1, 60]); del q.chksum
            for layer in (TCP, UDP):
                if layer in q and q[layer].chksum != 0: del q[layer].chksum
            if ICMP in q: del q[ICMP].chksum
            raw = bytes(q)
            typ, code = rng.choice([(3, 0), (3, 1), (3, 3), (3, 4), (11, 0), (11, 1), (12, 0), (4, 0), (5, 1), (3, 13)])
            cut = rng.choice([len(raw)] * 4 + [28, 24, 20, 32, 19, 0, 40])
            raw = bytearray(raw[:cut])
            if len(raw) > 12 and rng.random() < 0.1: raw[rng.randrange(len(raw))] ^= rng.choice([1, 255])
            if len(raw) >= 20 and rng.random() < 0.05: raw[6:8] = struct.pack("!H", rng.choice([0x2000, 0x2001, 0x8000]))
            body = ICMP(type=typ, code=code, **({"chksum": 0x1111} if rng.random() < 0.05 else {})) / Raw(bytes(raw))
            s.append(up(ip(rng.choice([W, "203.0.113.9"]), rng.choice([H, H, H, A]), ttl=rng.choice([50, 50, 1]), flags=0) / body))
        else:
            s.append(c1(ip(A, rng.choice([W, "203.0.113.9"]), flags=0) / ICMP(type=rng.choice([3, 11]), code=rng.choice([0, 1, 3])) / Raw(bytes(IP(src=W, dst=A, ttl=9) / UDP(sport=53, dport=sp) / b"xx"))))
    return s


def clash_case(rng):
    """Containers that want the same ports: what the kernel draws at random is adopted."""
    s = []
    ports = [5000, rng.choice([53, 300, 511, 512, 700, 1023, 1024])]
    for _ in range(20):
        cl, src = rng.choice([(c1, A), (c2, B)])
        port, dst, dp = rng.choice(ports), rng.choice([W, W2]), rng.choice([53, 54])
        body = rng.choice([UDP(sport=port, dport=dp) / b"u", TCP(sport=port, dport=dp, flags=rng.choice(["S", "S", "A"]), seq=rng.choice([7, 100])), ICMP(type=8, id=port, seq=1) / b"i"])
        s.append(cl(ip(src, dst) / body))
    return s


def bridge_case(rng):
    """What crosses or enters the bridge: any MAC, any address, broadcasts, multicasts, faults."""
    s = []
    macs = [GW, C1, C2, "02:42:ac:11:00:99", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:fb", HOST, "01:00:5e:00:00:01", "01:80:c2:00:00:00", "01:80:c2:00:00:0e"]
    addresses = [W, B, "172.17.0.1", H, "172.17.255.255", "255.255.255.255", "224.0.0.251", "224.0.0.1", "127.0.0.1", "240.0.0.1", "0.0.0.0", "172.17.0.77", "192.168.1.255", "10.0.0.1"]
    sources = [A] * 8 + [B, "172.17.0.1", H, "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "10.9.9.9", W, "172.17.255.255"]
    for _ in range(20):
        dst, src = rng.choice(addresses), rng.choice(sources)
        sp = rng.randrange(20000, 40000)
        body = rng.choice([UDP(sport=sp, dport=rng.choice([53, 8080])) / b"x", TCP(sport=sp, dport=rng.choice([80, 8080, 81]), flags="S", seq=1), ICMP(type=8, id=sp, seq=1) / b"p"])
        p = ip(src, dst, ttl=rng.choice([64, 64, 1, 2]), **({"chksum": 7} if rng.random() < 0.05 else {}), **({"len": rng.choice([20, 24, 400])} if rng.random() < 0.05 else {})) / body
        if rng.random() < 0.1: p = p / Padding(b"\0" * 12)
        where = rng.choice(["c1", "c1", "c2", "eth0"])
        if dst == "172.17.0.77" or src == "172.17.0.77": continue            # would wait for ARP, which is off in the rig
        mac = rng.choice(macs)
        if where == "eth0": s.append(("eth0", bytes(Ether(src=RT, dst=rng.choice([HOST, HOST, HOST, GW, "ff:ff:ff:ff:ff:ff"])) / p)))
        else: s.append(("veth" + where, bytes(Ether(src=C1 if where == "c1" else C2, dst=mac) / p)))
    return s


def mangled_case(rng):
    """Frames of the named cases with bytes changed and tails cut; checksums sometimes mended."""
    pool = [x for steps in named().values() for x in steps if len(x) == 2 and len(x[1]) < 500]
    s = []
    for _ in range(20):
        wire, frame = rng.choice(pool)
        f = bytearray(frame)
        for _ in range(rng.choice([0, 1, 1, 2, 3])):
            f[rng.randrange(12 if rng.random() < 0.1 else 14, len(f))] = rng.choice([0, 1, 255, rng.randrange(256)])
        if rng.random() < 0.2: del f[rng.randrange(14, len(f)):]
        if f[12:14] == b"\x08\x00" and len(f) >= 34 and rng.random() < 0.85:
            n = (f[14] & 15) * 4
            if 20 <= n <= len(f) - 14:
                f[24:26] = b"\0\0"
                c = sum(struct.unpack(f"!{n // 2}H", f[14:14 + n]))
                while c >> 16: c = (c & 0xFFFF) + (c >> 16)
                f[24:26] = struct.pack("!H", ~c & 0xFFFF)
        if ip_unsettled(f): continue
        s.append((wire, bytes(f)))
    return s


def ip_unsettled(f):
    """Would the answer depend on ARP, which the rig does not answer?"""
    if f[12:14] != b"\x08\x00" or len(f) < 34: return f[12:14] == b"\x08\x06"
    on_link = lambda a: a[:2] == b"\xac\x11" and bytes(a) not in (b"\xac\x11\0\1", b"\xac\x11\0\2", b"\xac\x11\0\3", b"\xac\x11\xff\xff") or a[:3] == b"\xc0\xa8\x01" and a[3] not in (1, 100, 255)
    return on_link(f[26:30]) or on_link(f[30:34])


KINDS = {"any": rand_case, "tcp": tcp_case, "published": pub_case, "sctp": sctp_case, "sctp-again": sctp_again_case, "gre": gre_case,
         "udplite": udplite_case, "options": options_case,
         "fragments": fragments_case, "icmp": icmp_case, "clash": clash_case, "bridge": bridge_case, "mangled": mangled_case}


# --- rules ------------------------------------------------------------------------------------------

def some_match(rng, table, chain):
    """One match that this chain may have, as iptables-save writes it."""
    early, late = chain in ("PREROUTING", "INPUT", "FORWARD"), chain in ("POSTROUTING", "OUTPUT", "FORWARD")
    no = rng.choice(["", "", "! "])
    pool = [f"{no}-s {rng.choice(['172.17.0.0/16', '172.17.0.2/32', '93.184.216.34/32', '0.0.0.0/1'])}",
            f"{no}-d {rng.choice(['172.17.0.0/16', '172.17.0.3/32', '198.51.100.7/32', '192.168.1.100/32'])}",
            f"-m mark {no}--mark {rng.choice(['0x1', '0x2/0x2', '0x0/0xff'])}", f"-m ttl {rng.choice(['--ttl-eq 64', '--ttl-gt 60', '--ttl-lt 58'])}",
            f"-m length {no}--length {rng.choice(['28:60', '40', '100:65535'])}", f"-m statistic --mode nth --every {rng.choice([2, 3])} --packet {rng.choice([0, 1])}",
            f"-m limit --limit 1/hour --limit-burst {rng.choice([1, 3, 5])}", '-m comment --comment "a rule"', f"-m addrtype {no}--dst-type {rng.choice(['LOCAL', 'UNICAST', 'BROADCAST', 'MULTICAST'])}",
            f"-m addrtype {no}--src-type {rng.choice(['LOCAL', 'UNICAST'])}", f"-m iprange {no}--src-range {rng.choice(['172.17.0.2-172.17.0.2', '93.0.0.0-172.17.0.2', '0.0.0.0-255.255.255.255'])}",
            f"-m iprange {no}--dst-range {rng.choice(['172.17.0.3-192.168.1.100', '93.184.216.34-93.184.216.34'])}", f"-m dscp {no}--dscp {rng.choice(['0x00', '0x2e'])}", f"-m tos {no}--tos {rng.choice(['0x00/0xff', '0x10/0x1c'])}",
            f"-m connmark {no}--mark {rng.choice(['0x0', '0x1/0x1', '0x5/0xf'])}",
            f"-m hashlimit --hashlimit-{rng.choice(['upto', 'above'])} 1/hour --hashlimit-burst {rng.choice([1, 3, 6])}{rng.choice(['', ' --hashlimit-mode srcip', ' --hashlimit-mode dstip,dstport', ' --hashlimit-mode srcip,srcport'])} --hashlimit-name h{rng.randrange(10**9)}{rng.choice(['', ' --hashlimit-srcmask 16', ' --hashlimit-dstmask 8'])}"]
    if early: pool.append(f"{no}-i {rng.choice(['docker0', 'eth0', 'eth+', 'br-+'])}")
    if late: pool.append(f"{no}-o {rng.choice(['docker0', 'eth0', 'dock+', 'br-+'])}")
    if table != "raw":
        pool += [f"-m conntrack {no}--ctstate {rng.choice(['NEW', 'ESTABLISHED', 'RELATED,ESTABLISHED', 'INVALID', 'NEW,UNTRACKED', 'SNAT', 'DNAT'])}",
                 f"-m conntrack --ctdir {rng.choice(['ORIGINAL', 'REPLY'])}", f"-m conntrack {no}--ctorigdst {rng.choice(['93.184.216.34', '192.168.1.0/24'])}",
                 f"-m conntrack {no}--ctorigdstport {rng.choice(['80', '53', '8080'])}", f"-m conntrack {no}--ctstatus {rng.choice(['ASSURED', 'SEEN_REPLY', 'CONFIRMED', 'NONE'])}",
                 f"-m conntrack {no}--ctproto {rng.choice(['6', '17', '1'])}", f"-m conntrack {no}--ctreplsrc 172.17.0.2/32"]
    return rng.choice(pool)


PROTOCOLS = ["-p tcp", "-p udp", "-p icmp", "! -p tcp", "-p tcp -m tcp --dport 80", "-p tcp -m tcp ! --sport 1024:29999", "-p tcp -m tcp --tcp-flags SYN,RST,ACK,FIN SYN",
             "-p tcp -m tcp ! --tcp-flags ALL ACK", "-p tcp -m tcp --tcp-option 2", "-p udp -m udp --dport 53", "-p udp -m udp --sport 53 ! --dport 20000:25000", "-p icmp -m icmp --icmp-type 8",
             "-p icmp -m icmp ! --icmp-type 3/3", "-p tcp -m multiport --dports 80,8080", "-p udp -m multiport ! --ports 53,20000:24000", "-p tcp -m multiport --sports 80,41000:41001"]


def some_rule(rng, table, chain, target, protocol=None):
    order = lambda m: ("-s" not in m, "-d" not in m, "-i" not in m, "-o" not in m)
    matches = {m.split()[-2] if "conntrack" in m else m.split()[1] if m.startswith("-m") else m.replace("! ", "").split()[0]: m for m in (some_match(rng, table, chain) for _ in range(rng.choice([0, 1, 1, 2])))}
    basic = sorted((m for m in matches.values() if not m.startswith("-m")), key=lambda m: "sdio".index(m.replace("! ", "")[1]))
    protocol = rng.choice([""] * 8 + PROTOCOLS) if protocol is None else protocol
    return " ".join(w for w in [f"-A {chain}", *basic, protocol, *(m for m in matches.values() if m.startswith("-m")), target] if w)


def random_rules(rng):
    """A ruleset over all four tables that still lets most of a conversation through."""
    text = ["*raw", ":PREROUTING ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]"]
    if rng.random() < 0.5: text.append(some_rule(rng, "raw", "PREROUTING", rng.choice(["-j NOTRACK", "-j CT --notrack", "-j DROP", "-j MARK --set-xmark 0x1/0x1"])))
    if rng.random() < 0.2: text.append(some_rule(rng, "raw", "OUTPUT", rng.choice(["-j NOTRACK", "-j DROP", "-j MARK --set-xmark 0x2/0x2"])))
    text += ["COMMIT", "*mangle", *(f":{c} ACCEPT [0:0]" for c in ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"))]
    for _ in range(rng.choice([0, 1, 2, 3])):
        chain = rng.choice(["PREROUTING", "FORWARD", "POSTROUTING", "PREROUTING", "FORWARD", "POSTROUTING", "INPUT", "OUTPUT"])
        text.append(some_rule(rng, "mangle", chain, rng.choice(["-j MARK --set-xmark 0x1/0xffffffff", "-j MARK --set-xmark 0x2/0x3", "-j MARK --set-xmark 0x4/0x0", "-j TTL --ttl-set 64", "-j TTL --ttl-inc 1", "-j TTL --ttl-dec 1", "-j ACCEPT", "-j DSCP --set-dscp 0x2e", "-j TOS --set-tos 0x10/0x3f", "-j TOS --set-tos 0x03/0x00",
            "-j CONNMARK --set-xmark 0x5/0xf", "-j CONNMARK --save-mark --nfmask 0xff --ctmask 0x3", "-j CONNMARK --restore-mark --nfmask 0x3 --ctmask 0xff"])))
    if rng.random() < 0.5: text.append(some_rule(rng, "mangle", "FORWARD", rng.choice(["-j TCPMSS --clamp-mss-to-pmtu", "-j TCPMSS --set-mss 1200", "-j TCPMSS --set-mss 500"]), "-p tcp -m tcp --tcp-flags SYN,RST SYN"))
    text += ["COMMIT", "*nat", *(f":{c} ACCEPT [0:0]" for c in ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")), ":DOCKER - [0:0]", "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER"]
    if rng.random() < 0.4:
        to = rng.choice(["-j DNAT --to-destination 172.17.0.3", "-j DNAT --to-destination 172.17.0.2:81", "-j REDIRECT", "-j REDIRECT --to-ports 8080", "-j DNAT --to-destination 172.17.0.2-172.17.0.3", "-j DNAT --to-destination 172.17.0.2-172.17.0.3 --persistent", "-j DNAT --to-destination 172.17.0.2:80-90", "-j DNAT --to-destination :8081", "-j MARK --set-xmark 0x1/0x1", "-j CONNMARK --set-xmark 0x1/0x1", "-j NETMAP --to 172.17.0.2/31", "-j ACCEPT", "-j RETURN"])
        # many ports made one on the host itself clash, and which port is drawn then no frame tells
        text.append(some_rule(rng, "nat", "PREROUTING", to, rng.choice(["-p tcp -m tcp --dport 80", "-p udp -m udp --dport 53"] + ["-p tcp", "-p udp"] * ("REDIRECT --to" not in to and ":8081" not in to))))
    if rng.random() < 0.2: text.append(some_rule(rng, "nat", "INPUT", rng.choice(["-j SNAT --to-source 10.0.0.1", "-j ACCEPT"]), rng.choice(["-p tcp", "-p udp", "-p icmp"])))
    if rng.random() < 0.2: text.append(some_rule(rng, "nat", "OUTPUT", rng.choice(["-j DNAT --to-destination 172.17.0.3", "-j ACCEPT"]), rng.choice(["-p tcp", "-p udp", "-p icmp"])))
    if rng.random() < 0.4: text.append(some_rule(rng, "nat", "POSTROUTING", rng.choice(["-j SNAT --to-source 192.168.1.100", "-j SNAT --to-source 192.168.1.100:4000-4100", "-j MASQUERADE --to-ports 5000-5100", "-j SNAT --to-source 192.168.1.101-192.168.1.104", "-j SNAT --to-source 192.168.1.101-192.168.1.109 --persistent", "-j NETMAP --to 192.168.1.100/30"]), rng.choice(["-p tcp", "-p udp"])))
    text += ["-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE", "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80", "COMMIT",
             "*filter", ":INPUT ACCEPT [0:0]", f":FORWARD {rng.choice(['ACCEPT', 'ACCEPT', 'DROP'])} [0:0]", ":OUTPUT ACCEPT [0:0]", ":MINE - [0:0]", ":YOURS - [0:0]"]
    targets = ["-j ACCEPT", "-j ACCEPT", "-j DROP", "-j RETURN", "-j MINE", "-g MINE", "-j REJECT --reject-with icmp-port-unreachable", "-j REJECT --reject-with icmp-admin-prohibited", "-j REJECT --reject-with icmp-host-prohibited", "", "-j MARK --set-xmark 0x1/0x3"]
    for _ in range(rng.choice([1, 2, 4])): text.append(some_rule(rng, "filter", rng.choice(["FORWARD", "FORWARD", "FORWARD", "INPUT", "OUTPUT"]), rng.choice(targets)))
    if rng.random() < 0.3: text.append(some_rule(rng, "filter", rng.choice(["FORWARD", "INPUT"]), "-j REJECT --reject-with tcp-reset", rng.choice(["-p tcp", "-p tcp -m tcp --dport 80"])))
    text.append("-A FORWARD -j ACCEPT")
    for _ in range(rng.choice([0, 1, 2])): text.append(some_rule(rng, "filter", "MINE", rng.choice(["-j ACCEPT", "-j DROP", "-j RETURN", "-j YOURS", "-g YOURS", "-j REJECT --reject-with icmp-net-unreachable"]), None))
    for _ in range(rng.choice([0, 1])): text.append(some_rule(rng, "filter", "YOURS", rng.choice(["-j ACCEPT", "-j RETURN", "-j DROP"]), None))
    # an untracked answer shows a port that was drawn for the host's own side, but nothing says that it is one
    if any("REDIRECT" in rule for rule in text): text = [rule for rule in text if not (rule.startswith("-A OUTPUT") and "NOTRACK" in rule)]
    return "\n".join(text) + "\nCOMMIT\n"
