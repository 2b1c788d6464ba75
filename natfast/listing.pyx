"""Connections as `conntrack -L` lists them."""
from libc.stdint cimport uint32_t

from natfast.headers cimport IPPROTO_DCCP, IPPROTO_GRE, IPPROTO_ICMP, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE
from natfast.table cimport Entry, IPS_ASSURED, IPS_SEEN_REPLY
from natfast.tuples cimport Half
from natfast.tcp import STATES as TCP_STATES
from natfast.trackers import SCTP_STATES

PROTOCOL_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 33: "dccp", 47: "gre", 132: "sctp", 136: "udplite"}


cdef str dotted(uint32_t a):
    return f"{a >> 24}.{(a >> 16) & 255}.{(a >> 8) & 255}.{a & 255}"


cdef str half_text(const Half* h, int proto):
    cdef str s = f"src={dotted(h.src)} dst={dotted(h.dst)}"
    if proto == IPPROTO_ICMP:
        return f"{s} type={h.dport >> 8} code={h.dport & 255} id={h.sport}"
    if proto == IPPROTO_GRE:
        return f"{s} srckey=0x{h.sport:x} dstkey=0x{h.dport:x}"
    # DCCP has no tracker any more (Linux 6.16), but `conntrack` still prints its ports, which are 0
    if proto in (IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_UDPLITE, IPPROTO_DCCP):
        return f"{s} sport={h.sport} dport={h.dport}"
    return s


cdef str counters(const Entry* e, int dir):
    return f"packets={e.packets[dir]} bytes={e.bytes[dir]}"


cdef str entry_text(const Entry* e, uint32_t now, bint acct):
    """One line of `conntrack -L`, single-spaced; with the counters if `nf_conntrack_acct` is on."""
    cdef int left = <int>(e.expires - now) // 1000
    cdef list w = [f"{PROTOCOL_NAMES.get(e.proto, 'unknown')} {e.proto} {left if left > 0 else 0}"]
    if e.proto == IPPROTO_TCP:
        w.append(TCP_STATES[e.state])
    elif e.proto == IPPROTO_SCTP:
        w.append(SCTP_STATES[e.state])
    w.append(half_text(&e.tuple[0], e.proto))
    if acct:
        w.append(counters(e, 0))
    if not e.status & IPS_SEEN_REPLY:
        w.append("[UNREPLIED]")
    w.append(half_text(&e.tuple[1], e.proto))
    if acct:
        w.append(counters(e, 1))
    if e.status & IPS_ASSURED:
        w.append("[ASSURED]")
    w.append(f"mark={e.mark} use=1")
    return " ".join(w)


cdef str state_name(const Entry* e):
    """As `conntrack -L` has it; of protocols without states, how much was heard."""
    return (TCP_STATES[e.state] if e.proto == IPPROTO_TCP else SCTP_STATES[e.state] if e.proto == IPPROTO_SCTP
            else "ASSURED" if e.status & IPS_ASSURED else "REPLIED" if e.status & IPS_SEEN_REPLY else "UNREPLIED")
