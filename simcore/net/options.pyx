"""IPv4 options as Linux treats them.

Record route and timestamp are filled in twice: with the address that the packet came to when it is received, and
with the one it leaves by when it is forwarded. What was filled in stays in the header even if the packet then
dies, so the ICMP error quotes it, with the checksum that it came with.
"""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset
from natfast.checksum cimport ip_checksum
from natfast.filter cimport ADDR_UNICAST, Host, address_type
from natfast.headers cimport be32, ip_ihl, put32

cdef enum:                      # Option
    END = 0
    NOP = 1
    RECORD_ROUTE = 7
    TIMESTAMP = 68
    LOOSE_SOURCE_ROUTE = 131
    CIPSO = 134
    STRICT_SOURCE_ROUTE = 137
    ROUTER_ALERT = 148

cdef enum:                      # Timestamp flag
    TIME_ONLY = 0
    TIME_AND_ADDRESS = 1
    PRESPECIFIED = 3


cdef int record_route(uint8_t* opt, uint32_t size, Options* o, uint32_t address) noexcept nogil:
    cdef uint32_t pointer
    if size < 3:
        return 1
    pointer = opt[2]
    if pointer < 4 or pointer <= size and pointer + 3 > size:
        return 2
    if pointer <= size:
        put32(opt + pointer - 1, address)
        opt[2] = <uint8_t>(pointer + 4)
        o.rr_address = True
        o.changed = True
    return 0


cdef int timestamp(uint8_t* opt, uint32_t size, Options* o, const Host* host, uint32_t address, uint32_t ms) noexcept nogil:
    cdef uint32_t pointer, flag
    if size < 4:
        return 1
    pointer = opt[2]
    flag = opt[3] & 15
    if pointer < 5:
        return 2
    if pointer > size:
        if flag != PRESPECIFIED:
            if opt[3] >> 4 == 15:
                return 3                        # 15 hosts had no room already
            opt[3] += 16
            o.changed = True
        return 0
    if pointer + 3 > size or (flag == TIME_AND_ADDRESS or flag == PRESPECIFIED) and pointer + 7 > size:
        return 2
    if flag == TIME_ONLY:
        put32(opt + pointer - 1, ms)
        opt[2] += 4
    elif flag == TIME_AND_ADDRESS:
        put32(opt + pointer - 1, address)
        put32(opt + pointer + 3, ms)
        o.ts_address = True
        opt[2] += 8
    elif flag == PRESPECIFIED and address_type(host, be32(opt + pointer - 1)) != ADDR_UNICAST:
        put32(opt + pointer + 3, ms)
        opt[2] += 8
    else:
        return 0                                # another host's turn, or a flag that nobody knows
    o.ts_time = True
    o.changed = True
    return 0


cdef int options_parse(uint8_t* ip, Options* o, const Host* host, uint32_t address, uint32_t ms) noexcept nogil:
    """Read the options of a received header and fill in what they ask for.

    `address` is what this host calls itself towards the sender, `ms` the time of day. Returns 0, or the offset of
    what is malformed, which the answering parameter problem points at (RFC 792).
    """
    cdef uint32_t end = ip_ihl(ip), i = 20, size
    cdef int fault = 0
    memset(o, 0, sizeof(Options))
    o.size = end - 20
    while i < end:
        if ip[i] == END:
            while i < end:
                if ip[i] != END:
                    ip[i] = END
                    o.changed = True
                i += 1
            return 0
        if ip[i] == NOP:
            i += 1
            continue
        if end - i < 2:
            return i
        size = ip[i + 1]
        if size < 2 or size > end - i:
            return i
        fault = 0
        if ip[i] == RECORD_ROUTE:
            if o.record_route:
                return i
            fault = record_route(ip + i, size, o, address)
            o.record_route = 0 if fault else i
        elif ip[i] == TIMESTAMP:
            if o.timestamp:
                return i
            fault = timestamp(ip + i, size, o, host, address, ms)
            o.timestamp = 0 if fault else i
        elif ip[i] == LOOSE_SOURCE_ROUTE or ip[i] == STRICT_SOURCE_ROUTE:
            if size < 3:
                return i + 1
            if ip[i + 2] < 4:
                return i + 2
            if o.source_route:
                return i
            o.source_route = i
        elif ip[i] == ROUTER_ALERT:
            if size < 4:
                return i + 1
        elif ip[i] == CIPSO:
            if o.cipso:
                return i
            o.cipso = i
            fault = 1 if size < 8 else 2        # no domain of interpretation is configured: every label is refused
        if fault:
            return i + fault
        i += size
    return 0


cdef void options_forward(uint8_t* ip, Options* o, uint32_t address) noexcept nogil:
    """Record the address that a forwarded packet leaves by, and settle the header checksum."""
    cdef uint8_t* opt
    if o.rr_address:
        opt = ip + o.record_route
        if opt[2] >= 8:
            put32(opt + opt[2] - 5, address)
        o.changed = True
    if o.ts_address:
        opt = ip + o.timestamp
        if opt[2] >= 13:
            put32(opt + opt[2] - 9, address)
        o.changed = True
    if o.changed:
        o.changed = False
        ip_checksum(ip)


cdef bint options_echo(const uint8_t* ip, const Options* o, const Host* host, uint32_t source, uint32_t ms, Echo* out) noexcept nogil:
    """The options that an answer to `ip` carries (RFC 1122 3.2.2.6): its record route, timestamp and label, ours added.

    False if they cannot be answered. A source route is not returned: packets with one are refused.
    """
    cdef uint8_t* d = out.data
    cdef uint32_t size, pointer
    out.size = 0
    if o.record_route:
        size = ip[o.record_route + 1]
        pointer = ip[o.record_route + 2]
        memcpy(d, ip + o.record_route, size)
        if o.rr_address and pointer <= size:
            if pointer + 3 > size:
                return False
            d[2] = <uint8_t>(pointer + 4)
            put32(d + pointer - 1, source)
        d += size
    if o.timestamp:
        size = ip[o.timestamp + 1]
        pointer = ip[o.timestamp + 2]
        memcpy(d, ip + o.timestamp, size)
        if pointer <= size:
            if o.ts_address:
                if pointer + 3 > size:
                    return False
                put32(d + pointer - 1, source)
                pointer += 4
            if o.ts_time:
                if pointer + 3 > size:
                    return False
                if d[3] & 15 != PRESPECIFIED:
                    put32(d + pointer - 1, ms)
                    pointer += 4
                elif pointer + 7 <= size and address_type(host, be32(d + pointer - 1)) != ADDR_UNICAST:
                    put32(d + pointer + 3, ms)
                    pointer += 8
            d[2] = <uint8_t>pointer
        d += size
    if o.cipso:
        size = ip[o.cipso + 1]
        memcpy(d, ip + o.cipso, size)
        d += size
    out.size = <uint32_t>(d - out.data)
    while out.size & 3:
        out.data[out.size] = END
        out.size += 1
    return True
