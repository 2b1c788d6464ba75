"""Wire formats: big-endian access and the offsets of the headers that conntrack and NAT read.

Everything here is `inline` so that a caller in any module pays no call.
"""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

cdef enum:
    ETH_HLEN = 14
    ETH_P_IP = 0x0800
    ETH_P_ARP = 0x0806
    ETH_P_8021Q = 0x8100
    ETH_P_8021AD = 0x88A8
    ETH_P_IPV6 = 0x86DD

cdef enum:                      # IpProtocol
    IPPROTO_ICMP = 1
    IPPROTO_IGMP = 2
    IPPROTO_TCP = 6
    IPPROTO_UDP = 17
    IPPROTO_DCCP = 33
    IPPROTO_GRE = 47
    IPPROTO_ESP = 50
    IPPROTO_AH = 51
    IPPROTO_ICMPV6 = 58
    IPPROTO_PIM = 103
    IPPROTO_SCTP = 132
    IPPROTO_UDPLITE = 136

cdef enum:                      # IpFlag
    IP_CE = 0x8000
    IP_DF = 0x4000
    IP_MF = 0x2000
    IP_OFFSET = 0x1FFF

cdef enum:                      # TcpFlag
    TCP_FIN = 0x01
    TCP_SYN = 0x02
    TCP_RST = 0x04
    TCP_PSH = 0x08
    TCP_ACK = 0x10
    TCP_URG = 0x20
    TCP_ECE = 0x40
    TCP_CWR = 0x80

cdef enum:                      # TcpOption
    TCPOPT_EOL = 0
    TCPOPT_NOP = 1
    TCPOPT_MSS = 2
    TCPOPT_WINDOW = 3
    TCPOPT_SACK_PERM = 4
    TCPOPT_SACK = 5
    TCPOPT_TIMESTAMP = 8

cdef enum:                      # IcmpType
    ICMP_ECHOREPLY = 0
    ICMP_DEST_UNREACH = 3
    ICMP_SOURCE_QUENCH = 4
    ICMP_REDIRECT = 5
    ICMP_ECHO = 8
    ICMP_TIME_EXCEEDED = 11
    ICMP_PARAMETERPROB = 12
    ICMP_TIMESTAMP = 13
    ICMP_TIMESTAMPREPLY = 14
    ICMP_INFO_REQUEST = 15
    ICMP_INFO_REPLY = 16
    ICMP_ADDRESS = 17
    ICMP_ADDRESSREPLY = 18


cdef extern from "<arpa/inet.h>" nogil:
    uint16_t ntohs(uint16_t v)
    uint32_t ntohl(uint32_t v)


cdef inline uint16_t be16(const uint8_t* p) noexcept nogil:
    cdef uint16_t v
    memcpy(&v, p, 2)
    return ntohs(v)


cdef inline uint32_t be32(const uint8_t* p) noexcept nogil:
    cdef uint32_t v
    memcpy(&v, p, 4)
    return ntohl(v)


cdef inline void put16(uint8_t* p, uint32_t v) noexcept nogil:
    cdef uint16_t w = ntohs(<uint16_t>v)
    memcpy(p, &w, 2)


cdef inline void put32(uint8_t* p, uint32_t v) noexcept nogil:
    v = ntohl(v)
    memcpy(p, &v, 4)


# --- IPv4 (RFC 791), `ip` points at the header -----------------------------------------------

cdef inline uint32_t ip_ihl(const uint8_t* ip) noexcept nogil:
    return (ip[0] & 15) * 4

cdef inline uint32_t ip_total(const uint8_t* ip) noexcept nogil:
    return be16(ip + 2)

cdef inline uint32_t ip_frag(const uint8_t* ip) noexcept nogil:
    return be16(ip + 6)

cdef inline bint ip_is_fragment(const uint8_t* ip) noexcept nogil:
    return (be16(ip + 6) & (IP_MF | IP_OFFSET)) != 0

cdef inline uint32_t ip_src(const uint8_t* ip) noexcept nogil:
    return be32(ip + 12)

cdef inline uint32_t ip_dst(const uint8_t* ip) noexcept nogil:
    return be32(ip + 16)


# --- TCP options (RFC 9293 3.1), `th` points at the header -----------------------------------

cdef inline const uint8_t* tcp_option_at(const uint8_t* o, int* left) noexcept nogil:
    """The first option of the `left` bytes from `o` on, its kind and size first; NULL at their end, or where they make no sense."""
    while left[0] > 0 and o[0] == TCPOPT_NOP:
        o += 1
        left[0] -= 1
    if left[0] < 2 or o[0] == TCPOPT_EOL or o[1] < 2 or o[1] > left[0]:
        return NULL
    return o

cdef inline const uint8_t* tcp_option_first(const uint8_t* th, int* left) noexcept nogil:
    left[0] = (th[12] >> 4) * 4 - 20
    return tcp_option_at(th + 20, left)

cdef inline const uint8_t* tcp_option_next(const uint8_t* o, int* left) noexcept nogil:
    left[0] -= o[1]
    return tcp_option_at(o + o[1], left)


# --- serial number arithmetic (RFC 1982, as TCP uses it) ---------------------------------------

cdef inline bint before(uint32_t a, uint32_t b) noexcept nogil:
    return <int32_t>(a - b) < 0

cdef inline bint after(uint32_t a, uint32_t b) noexcept nogil:
    return <int32_t>(b - a) < 0


cdef inline bint icmp_is_error(uint32_t kind) noexcept nogil:
    return (kind == ICMP_DEST_UNREACH or kind == ICMP_SOURCE_QUENCH or kind == ICMP_REDIRECT
            or kind == ICMP_TIME_EXCEEDED or kind == ICMP_PARAMETERPROB)


cdef inline bint icmp_has_id(uint32_t kind) noexcept nogil:
    """Queries and their answers carry an identifier that NAT treats as a port."""
    return kind == ICMP_ECHOREPLY or kind == ICMP_ECHO or (ICMP_TIMESTAMP <= kind <= ICMP_ADDRESSREPLY)
