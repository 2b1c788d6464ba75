"""What rules are compiled to: kinds of matches and targets, flags of NAT. Python has them as enumerations."""

cpdef enum MatchKind:
    K_PORTS = 1                 # source and destination port ranges of tcp, udp, sctp
    K_TCPFLAGS = 2
    K_ICMP = 3
    K_MULTIPORT = 4
    K_SRCTYPE = 5
    K_DSTTYPE = 6
    K_CTSTATE = 7
    K_CTTUPLE = 8               # one address of one of the connection's tuples
    K_CTPORT = 9
    K_CTSTATUS = 10
    K_CTDIR = 11
    K_MARK = 12
    K_LIMIT = 13
    K_RANDOM = 14
    K_NTH = 15
    K_LENGTH = 16
    K_TTL = 17
    K_PHYSIN = 18
    K_PHYSOUT = 19
    K_BRIDGED = 20
    K_CTPROTO = 21
    K_TCPOPTION = 22
    K_SRCRANGE = 23
    K_DSTRANGE = 24
    K_TOS = 25
    K_CONNMARK = 26
    K_HASHLIMIT = 27
    K_CONNLIMIT = 28
    K_HEADER = 29               # the transport header is there, so many bytes: else the packet is dropped

cpdef enum TargetKind:
    T_NONE = 0
    T_ACCEPT = 1
    T_DROP = 2
    T_RETURN = 3
    T_JUMP = 4
    T_REJECT = 5
    T_LOG = 6
    T_SNAT = 7
    T_DNAT = 8
    T_MASQUERADE = 9
    T_REDIRECT = 10
    T_MARK = 11
    T_TCPMSS = 12
    T_TTL = 13
    T_NOTRACK = 14
    T_TOS = 15
    T_NETMAP = 16
    T_CONNMARK = 17
    T_SAVE_MARK = 18
    T_RESTORE_MARK = 19

cpdef enum NatFlag:             # NF_NAT_RANGE_*
    RANGE_MAP_IPS = 1
    RANGE_PROTO_SPECIFIED = 2
    RANGE_PROTO_RANDOM = 4
    RANGE_PERSISTENT = 8
    RANGE_PROTO_RANDOM_FULLY = 16
    RANGE_PROTO_OFFSET = 32
    RANGE_PROTO_RANDOM_ALL = 20
