"""Settings by name; the table below is the only place that knows where each one is kept."""
from libc.stddef cimport size_t

cdef enum:                      # Kind
    SECONDS = 0
    NUMBER = 1
    FLAG = 2

ctypedef struct Row:
    size_t offset
    int kind
    double default

cdef Sysctl _S
cdef char* _BASE = <char*>&_S


cdef dict _rows():
    """name after `net.netfilter.nf_conntrack_` -> (offset, kind, default); defaults of Linux 6.18."""
    cdef list tcp = [
        ("syn_sent", 1, 120), ("syn_recv", 2, 60), ("established", 3, 432000), ("fin_wait", 4, 120),
        ("close_wait", 5, 60), ("last_ack", 6, 30), ("time_wait", 7, 120), ("close", 8, 10),
        ("max_retrans", 10, 300), ("unacknowledged", 11, 300)]
    cdef list sctp = [
        ("closed", 1, 10), ("cookie_wait", 2, 3), ("cookie_echoed", 3, 3), ("established", 4, 210),
        ("shutdown_sent", 5, 3), ("shutdown_recd", 6, 3), ("shutdown_ack_sent", 7, 3), ("heartbeat_sent", 8, 30)]
    cdef dict rows = {
        "max": (<char*>&_S.max - _BASE, NUMBER, 262144),
        "buckets": (<char*>&_S.buckets - _BASE, NUMBER, 262144),
        "udp_timeout": (<char*>&_S.udp - _BASE, SECONDS, 30),
        "udp_timeout_stream": (<char*>&_S.udp_stream - _BASE, SECONDS, 120),
        "icmp_timeout": (<char*>&_S.icmp - _BASE, SECONDS, 30),
        "gre_timeout": (<char*>&_S.gre - _BASE, SECONDS, 30),
        "gre_timeout_stream": (<char*>&_S.gre_stream - _BASE, SECONDS, 180),
        "generic_timeout": (<char*>&_S.generic - _BASE, SECONDS, 600),
        "tcp_max_retrans": (<char*>&_S.tcp_max_retrans - _BASE, NUMBER, 3),
        "tcp_loose": (<char*>&_S.tcp_loose - _BASE, FLAG, 1),
        "tcp_be_liberal": (<char*>&_S.tcp_be_liberal - _BASE, FLAG, 0),
        "tcp_ignore_invalid_rst": (<char*>&_S.tcp_ignore_invalid_rst - _BASE, FLAG, 0),
        "checksum": (<char*>&_S.checksum - _BASE, FLAG, 1),
        "acct": (<char*>&_S.acct - _BASE, FLAG, 0),
    }
    for name, i, seconds in tcp:
        rows[f"tcp_timeout_{name}"] = (<char*>&_S.tcp[<int>i] - _BASE, SECONDS, seconds)
    for name, i, seconds in sctp:
        rows[f"sctp_timeout_{name}"] = (<char*>&_S.sctp[<int>i] - _BASE, SECONDS, seconds)
    return rows

cdef dict ROWS = _rows()
cdef str PREFIX = "net.netfilter.nf_conntrack_"

NAMES = tuple(sorted(PREFIX + name for name in ROWS))


cdef int _store(Sysctl* s, tuple row, double value) except -1:
    cdef size_t offset = row[0]
    cdef int kind = row[1]
    if kind == FLAG:
        (<uint8_t*>s)[offset] = <uint8_t>value
    elif kind == SECONDS:
        (<uint32_t*>(<char*>s + offset))[0] = <uint32_t>(value * 1000)
    else:
        (<uint32_t*>(<char*>s + offset))[0] = <uint32_t>value
    return 0


cdef int sysctl_defaults(Sysctl* s) except -1:
    for row in ROWS.values():
        _store(s, row, row[2])
    s.tcp[9] = 120000                   # SYN_SENT2: no setting changes it
    return 0


cdef int sysctl_set(Sysctl* s, str name, object value) except -1:
    """Set one setting; ValueError names an unknown one or a value out of range."""
    cdef object row = ROWS.get(name[len(PREFIX):]) if name.startswith(PREFIX) else None
    if row is None:
        raise ValueError(f"sysctl {name!r} is not known; the known ones are {', '.join(NAMES)}")
    cdef double v
    try:
        v = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"sysctl {name}: expected a number, got {value!r}") from None
    cdef double top = {FLAG: 1.0, SECONDS: 2147483.0, NUMBER: 1 << 28}[row[1]]
    cdef double low = 1.0 if name.endswith("_buckets") else 0.0
    if not low <= v <= top:
        raise ValueError(f"sysctl {name}: expected {low:.0f} to {top:.0f}, got {value!r}")
    _store(s, row, v)
    return 0


def check_sysctl(str name, value):
    """Can a table have this setting?

    Raises
    ------
    ValueError
        For one that is not known, or a value out of range.
    """
    cdef Sysctl s
    sysctl_defaults(&s)
    sysctl_set(&s, name, value)


cdef object sysctl_get(Sysctl* s, str name):
    cdef object row = ROWS.get(name[len(PREFIX):]) if name.startswith(PREFIX) else None
    if row is None:
        raise ValueError(f"sysctl {name!r} is not known")
    cdef size_t offset = row[0]
    if row[1] == FLAG:
        return (<uint8_t*>s)[offset]
    cdef uint32_t v = (<uint32_t*>(<char*>s + offset))[0]
    return v // 1000 if row[1] == SECONDS else v
