"""The kernel's log lines, as the LOG target prints them."""
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

cdef void log_packet(Log* log, int what, uint32_t rule, uint32_t now, int hook, const Packet* k) noexcept nogil:
    """Keep a packet's headers; text is made of them when somebody asks."""
    cdef Record* r
    if log.records == NULL:
        log.records = <Record*>calloc(LOG_KEPT, sizeof(Record))
        if log.records == NULL:
            log.count += 1
            return
    r = &log.records[log.count % LOG_KEPT]
    log.count += 1
    r.now = now
    r.what = what
    r.rule = rule
    r.hook = hook
    r.length = k.len
    r.mark = k.mark
    r.iif = k.iif
    r.oif = k.oif
    r.physin = k.physin
    r.physout = k.physout
    r.mac = k.iif != 0
    r.kept = <uint8_t>(k.avail if k.avail < LOG_BYTES else LOG_BYTES)
    if r.mac:
        memcpy(r.data, k.data - 14, 14)                 # received packets have their Ethernet header before them
    memcpy(r.data + 14, k.data, r.kept)


cdef void log_free(Log* log) noexcept nogil:
    free(log.records)
    log.records = NULL


cdef list log_lines(const Log* log, list names, list options):
    cdef list out = []
    cdef uint64_t i, first = log.count - LOG_KEPT if log.count > LOG_KEPT else 0
    cdef const Record* r
    if log.records == NULL:
        return out
    for i in range(first, log.count):
        r = &log.records[i % LOG_KEPT]
        out.append((r.now / 1000, "nf_conntrack: nf_conntrack: table full, dropping packet" if r.what == LOG_TABLE_FULL
                    else line(r, names, options[r.rule])))
    return out


cdef str line(const Record* r, list names, dict options):
    cdef bytes ip = r.data[14:14 + r.kept]
    cdef bytes mac = r.data[:14]
    words = [options.get("log-prefix", "") + f"IN={names[r.iif]} OUT={names[r.oif]}"]
    if r.physin:
        words.append(f"PHYSIN={names[r.physin]}")
    if r.physout:
        words.append(f"PHYSOUT={names[r.physout]}")
    if r.mac:
        words.append("MAC=" + ":".join(f"{b:02x}" for b in mac))
    words += packet_words(ip, options)
    if r.mark:
        words.append(f"MARK=0x{r.mark:x}")
    return " ".join(words)


def packet_words(ip: bytes, options: dict) -> list:
    """An IPv4 packet, header by header."""
    if len(ip) < 20:
        return ["TRUNCATED"]
    word = int.from_bytes(ip[6:8], "big")
    ihl = (ip[0] & 15) * 4
    words = [f"SRC={dotted(ip[12:16])} DST={dotted(ip[16:20])} LEN={int.from_bytes(ip[2:4], 'big')} TOS=0x{ip[1] & 0x1E:02X} "
             f"PREC=0x{ip[1] & 0xE0:02X} TTL={ip[8]} ID={int.from_bytes(ip[4:6], 'big')}"]
    words += [name for bit, name in ((0x8000, "CE"), (0x4000, "DF"), (0x2000, "MF")) if word & bit]
    if word & 0x1FFF:
        words.append(f"FRAG:{word & 0x1FFF}")
    if "log-ip-options" in options and ihl > 20:
        words.append(f"OPT ({ip[20:ihl].hex().upper()})")
    l4 = ip[ihl:]
    make = {6: tcp_words, 17: udp_words, 136: udp_words, 1: icmp_words}.get(ip[9])
    if make is None:
        return [*words, f"PROTO={ip[9]}"]
    words.append({6: "PROTO=TCP", 17: "PROTO=UDP", 136: "PROTO=UDPLITE", 1: "PROTO=ICMP"}[ip[9]])
    return words + ([] if word & 0x1FFF else make(l4, options))


def dotted(a: bytes) -> str:
    return ".".join(map(str, a))


def tcp_words(h: bytes, options: dict) -> list:
    if len(h) < 20:
        return [f"INCOMPLETE [{len(h)} bytes]"]
    n = [int.from_bytes(h[i:i + 2], "big") for i in range(0, 20, 2)]
    words = [f"SPT={n[0]} DPT={n[1]}"]
    if "log-tcp-sequence" in options:
        words.append(f"SEQ={n[2] << 16 | n[3]} ACK={n[4] << 16 | n[5]}")
    words.append(f"WINDOW={n[7]} RES=0x{h[12] & 15:02x}")
    words += [name for bit, name in ((0x80, "CWR"), (0x40, "ECE"), (0x20, "URG"), (0x10, "ACK"), (8, "PSH"), (4, "RST"), (2, "SYN"),
                                     (1, "FIN")) if h[13] & bit]
    words.append(f"URGP={n[9]}")
    if "log-tcp-options" in options and (h[12] >> 4) > 5:
        words.append(f"OPT ({h[20:(h[12] >> 4) * 4].hex().upper()})")
    return words


def udp_words(h: bytes, options: dict) -> list:
    if len(h) < 8:
        return [f"INCOMPLETE [{len(h)} bytes]"]
    return ["SPT={} DPT={} LEN={}".format(*(int.from_bytes(h[i:i + 2], "big") for i in (0, 2, 4)))]


def icmp_words(h: bytes, options: dict) -> list:
    if len(h) < 8:
        return [f"INCOMPLETE [{len(h)} bytes]"]
    words = [f"TYPE={h[0]} CODE={h[1]}"]
    if h[0] in (0, 8, 13, 14):
        words.append(f"ID={int.from_bytes(h[4:6], 'big')} SEQ={int.from_bytes(h[6:8], 'big')}")
    elif h[0] == 12:
        words.append(f"PARAMETER={h[4]}")
    elif h[0] == 5:
        words.append(f"GATEWAY={dotted(h[4:8])}")
    if h[0] in (3, 4, 5, 11, 12):
        words += ["[" + " ".join(packet_words(h[8:], {})), "]"]
        if h[0] == 3 and h[1] == 4:
            words.append(f"MTU={int.from_bytes(h[6:8], 'big')}")
    return words
