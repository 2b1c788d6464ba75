"""Conntrack's settings under their sysctl names (Linux Documentation/networking/nf_conntrack-sysctl)."""
from libc.stdint cimport uint32_t, uint8_t

ctypedef struct Sysctl:
    uint32_t max
    uint32_t buckets
    uint32_t tcp[14]            # ms by TCP state, then RETRANS and UNACK
    uint32_t udp
    uint32_t udp_stream
    uint32_t icmp
    uint32_t gre
    uint32_t gre_stream
    uint32_t generic
    uint32_t sctp[10]
    uint32_t tcp_max_retrans
    uint8_t tcp_loose
    uint8_t tcp_be_liberal
    uint8_t tcp_ignore_invalid_rst
    uint8_t checksum
    uint8_t acct

cdef enum:                      # TcpTimeout
    TIMEOUT_RETRANS = 10
    TIMEOUT_UNACK = 11

cdef int sysctl_defaults(Sysctl* s) except -1
cdef int sysctl_set(Sysctl* s, str name, object value) except -1
cdef object sysctl_get(Sysctl* s, str name)
