"""A packet as the netfilter hooks see it: the part of Linux's sk_buff that they read and write."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from natfast.tuples cimport Tuple

# Packet's relation to its connection; numbers as in Linux's ip_conntrack_info.
cdef enum:                      # CtInfo
    IP_CT_ESTABLISHED = 0
    IP_CT_RELATED = 1
    IP_CT_NEW = 2
    IP_CT_IS_REPLY = 3
    IP_CT_ESTABLISHED_REPLY = 3
    IP_CT_RELATED_REPLY = 4
    IP_CT_UNTRACKED = 7

cdef enum:                      # Hook
    PREROUTING = 0
    LOCAL_IN = 1
    FORWARD = 2
    LOCAL_OUT = 3
    POSTROUTING = 4

# What has dropped a packet at a hook.
cdef enum:                      # DroppedBy
    BY_RULE = 0
    BY_FULL_TABLE = 1           # conntrack has no room for its connection
    BY_CLASH = 2                # another packet's connection has taken its tuple
    BY_WANT_OF_PORTS = 3        # ... and NAT has found no other
    BY_NAT = 4                  # it cannot be translated, or makes no sense translated

ctypedef struct Packet:
    uint8_t* data           # IPv4 header
    uint32_t len            # bytes from the IP header on (after trimming)
    uint32_t avail          # bytes that are in memory; all after them are zero
    uint32_t room           # bytes that `data` may grow to
    uint32_t mtu            # smaller MTU of the way there and the way back, 0 if unknown: TCPMSS clamps to it
    uint32_t ct             # conntrack entry, 0 if none
    const Tuple* key        # the tuple, if a batch has read it already (no options, no fragment), else NULL
    uint32_t hint           # reference that a batch found ahead of time, 0 if none; checked before use
    uint32_t mark
    uint16_t iif            # interface numbers, 0 if none
    uint16_t oif
    uint16_t physin         # bridge ports, 0 if none
    uint16_t physout
    uint8_t ctinfo
    uint8_t checksum_ok     # transport checksum known to be right: the sender is simulated
    uint8_t summed          # conntrack has verified the transport checksum
    uint8_t reject          # REJECT's answer code + 1 when a rule asked for one
    uint8_t dropped_by      # if it was
    uint8_t owned           # the connection is in no table: whoever holds the packet has it confirmed, or gives it back
