"""Compiles `natfast.rules.Rules` and walks them as ip_tables does."""
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.string cimport memmove, memset
from natfast.checksum cimport replace2, replace4_at
from natfast.headers cimport IPPROTO_TCP, be16, be32, ip_dst, ip_frag, ip_ihl, ip_src, put16, IP_OFFSET
from natfast.limits cimport Connlimit, Hashlimit, connlimit_count, connlimit_free, hashlimit_free, hashlimit_take
from natfast.log cimport LOG_RULE, log_packet
from natfast.kinds cimport (K_BRIDGED, K_CONNLIMIT, K_CONNMARK, K_CTDIR, K_CTPORT, K_CTPROTO, K_CTSTATE, K_CTSTATUS, K_CTTUPLE, K_DSTRANGE, K_DSTTYPE, K_HASHLIMIT, K_ICMP,
                            K_HEADER, K_LENGTH, K_LIMIT, K_MARK, K_MULTIPORT, K_NTH, K_PHYSIN, K_PHYSOUT, K_PORTS, K_RANDOM, K_SRCRANGE,
                            K_SRCTYPE, K_TCPFLAGS, K_TCPOPTION, K_TOS, K_TTL, RANGE_MAP_IPS, T_ACCEPT, T_CONNMARK, T_DROP, T_DNAT,
                            T_JUMP, T_LOG, T_MARK, T_NETMAP, T_NONE, T_NOTRACK, T_REDIRECT, T_REJECT, T_RESTORE_MARK, T_RETURN,
                            T_SAVE_MARK, T_SNAT, T_TCPMSS, T_TOS, T_TTL)
from natfast.nat cimport MANIP_DST, MANIP_SRC, NatRange, nat_setup
from natfast.packet cimport IP_CT_IS_REPLY, IP_CT_NEW, IP_CT_UNTRACKED, FORWARD, LOCAL_OUT, PREROUTING, Packet
from natfast.state cimport Conntrack, random32
from natfast.table cimport Entry, IPS_ASSURED, IPS_CONFIRMED, IPS_DST_NAT, IPS_SEEN_REPLY, IPS_SRC_NAT
from natfast.errors import RulesError
from natfast.values import address

cdef enum:
    POLICY_RETURN = 255
    STACK = 64

cdef dict TABLE_IDS = {"raw": 0, "mangle": 1, "nat": 2, "filter": 3}
cdef dict HOOK_IDS = {"PREROUTING": 0, "INPUT": 1, "FORWARD": 2, "OUTPUT": 3, "POSTROUTING": 4}


cdef uint32_t address_type(const Host* host, uint32_t a) noexcept nogil:
    """The addrtype bit of an address: what this host's local routes make of it."""
    cdef uint32_t i
    if a == 0 or a == 0xFFFFFFFFU:
        return ADDR_BROADCAST
    if (a >> 28) == 14:
        return ADDR_MULTICAST
    if (a >> 24) == 127:
        return ADDR_LOCAL
    for i in range(host.n):
        if host.address[i].address == a:
            return ADDR_LOCAL
    for i in range(host.n):
        if ~host.address[i].mask > 1 and a == (host.address[i].address | ~host.address[i].mask):
            return ADDR_BROADCAST
    return ADDR_UNICAST


cdef bint port_match(const CMatch* m, uint32_t port, uint32_t both, int mode) noexcept nogil:
    """multiport: mode 1 source, 2 destination, 3 either."""
    cdef int i
    for i in range(0, m.n, 2):
        if mode & 1 and m.port[i] <= port <= m.port[i + 1]:
            return True
        if mode & 2 and m.port[i] <= both <= m.port[i + 1]:
            return True
    return False


cdef int match_one(Program* p, CMatch* m, Conntrack* c, Packet* k, const Host* host) noexcept nogil:
    """1 matches, 0 does not, -1 the packet is malformed and dropped."""
    cdef const uint8_t* l4
    cdef uint32_t off = ip_ihl(k.data)
    cdef uint32_t left = k.avail - off if k.avail > off else 0
    cdef uint32_t sp, dp, state, i, n
    cdef Entry* e
    cdef bint ok
    l4 = k.data + off
    if m.kind == K_HEADER:
        if ip_frag(k.data) & IP_OFFSET:
            return -1 if ip_frag(k.data) & IP_OFFSET == 1 and k.data[9] == IPPROTO_TCP else 0
        return 1 if left >= m.a else -1
    if m.kind == K_PORTS:
        if ip_frag(k.data) & IP_OFFSET or left < (2 if m.port[2] == 0 and m.port[3] == 0xFFFF and m.invert < 2 else 4):
            return 0
        sp = be16(l4)
        ok = (m.port[0] <= sp and sp <= m.port[1]) != (m.invert & 1)
        if left < 4 or not ok:
            return ok
        dp = be16(l4 + 2)
        return (m.port[2] <= dp and dp <= m.port[3]) != ((m.invert >> 1) & 1)
    if m.kind == K_TCPFLAGS:
        return not ip_frag(k.data) & IP_OFFSET and left > 13 and ((l4[13] & m.a) == m.b) != m.invert
    if m.kind == K_TCPOPTION:           # behind a K_HEADER
        i = 20
        n = (l4[12] >> 4) * 4
        if n < 20 or left < n:
            return -1
        ok = False
        while i < n and off + i + 1 < k.avail:
            if l4[i] == m.a:
                ok = True
                break
            if l4[i] < 2:
                i += 1
            else:
                i += l4[i + 1] if l4[i + 1] != 0 else 1
        return ok != m.invert
    if m.kind == K_ICMP:
        if ip_frag(k.data) & IP_OFFSET:
            return 0
        if left < 8:
            return -1
        return (m.a == 255 or (l4[0] == m.a and m.b <= l4[1] <= m.c)) != m.invert
    if m.kind == K_MULTIPORT:
        if ip_frag(k.data) & IP_OFFSET:
            return 0
        if left < 4:
            return -1
        return port_match(m, be16(l4), be16(l4 + 2), m.a) != m.invert
    if m.kind == K_SRCTYPE:
        return ((address_type(host, ip_src(k.data)) & m.a) != 0) != m.invert
    if m.kind == K_DSTTYPE:
        return ((address_type(host, ip_dst(k.data)) & m.a) != 0) != m.invert
    if m.kind == K_CTSTATE:
        if k.ct != 0:
            e = &c.table.entries[k.ct]
            if k.ctinfo == 0 or k.ctinfo == IP_CT_IS_REPLY:
                state = CTSTATE_ESTABLISHED
            elif k.ctinfo == IP_CT_NEW:
                state = CTSTATE_NEW
            else:
                state = CTSTATE_RELATED
            if e.status & IPS_SRC_NAT:
                state |= CTSTATE_SNAT
            if e.status & IPS_DST_NAT:
                state |= CTSTATE_DNAT
        else:
            state = CTSTATE_UNTRACKED if k.ctinfo == IP_CT_UNTRACKED else CTSTATE_INVALID
        return ((state & m.a) != 0) != m.invert
    if K_CTTUPLE <= m.kind <= K_CTDIR or m.kind == K_CTPROTO:
        if k.ct == 0:
            return 0
        e = &c.table.entries[k.ct]
        if m.kind == K_CTDIR:
            return ((1 if k.ctinfo >= IP_CT_IS_REPLY else 0) == m.a) != m.invert
        if m.kind == K_CTPROTO:
            return (e.proto == m.a) != m.invert
        if m.kind == K_CTSTATUS:
            state = ((4 if e.status & IPS_SEEN_REPLY else 0) | (8 if e.status & IPS_ASSURED else 0)
                     | (16 if e.status & IPS_CONFIRMED else 0))
            return ((state & m.a) != 0) != m.invert         # NONE is no bit at all: it never matches
        if m.kind == K_CTTUPLE:
            n = e.tuple[m.c >> 1].dst if m.c & 1 else e.tuple[m.c >> 1].src
            return ((n & m.b) == m.a) != m.invert
        n = e.tuple[m.c >> 1].dport if m.c & 1 else e.tuple[m.c >> 1].sport
        return (m.a <= n <= m.b) != m.invert
    if m.kind == K_MARK:
        return ((k.mark & m.b) == m.a) != m.invert
    if m.kind == K_CONNMARK:
        return k.ct != 0 and ((c.table.entries[k.ct].mark & m.b) == m.a) != m.invert
    if m.kind == K_LIMIT:
        m.credit += (c.now * 1e-3 - m.last) * m.rate
        m.last = c.now * 1e-3
        if m.credit > m.a:
            m.credit = m.a
        if m.credit >= 1:
            m.credit -= 1
            return 1
        return 0
    if m.kind == K_HASHLIMIT:
        state = hashlimit_take(&p.hashlimits[m.a], c, k)
        return -1 if <int>state < 0 else (state != 0) != m.invert
    if m.kind == K_CONNLIMIT:
        n = connlimit_count(&p.connlimits[m.n], c, k, (ip_dst(k.data) if m.c else ip_src(k.data)) & m.b)
        return -1 if n == 0 else (n > m.a) != m.invert
    if m.kind == K_RANDOM:
        return (random32(c) < m.a) != m.invert
    if m.kind == K_NTH:
        ok = m.c == m.b
        m.c = m.c + 1 if m.c + 1 < m.a else 0
        return ok != m.invert
    if m.kind == K_LENGTH:
        return (m.a <= k.len <= m.b) != m.invert
    if m.kind == K_SRCRANGE:
        return (m.a <= ip_src(k.data) <= m.b) != m.invert
    if m.kind == K_DSTRANGE:
        return (m.a <= ip_dst(k.data) <= m.b) != m.invert
    if m.kind == K_TOS:
        return ((k.data[1] & m.b) == m.a) != m.invert
    if m.kind == K_TTL:
        if m.b == 0:
            return (k.data[8] == m.a) != m.invert
        return k.data[8] > m.a if m.b == 1 else k.data[8] < m.a
    if m.kind == K_PHYSIN:
        return (p.interface_match[m.a * MAX_INTERFACES + k.physin] != 0) != m.invert
    if m.kind == K_PHYSOUT:
        return (p.interface_match[m.a * MAX_INTERFACES + k.physout] != 0) != m.invert
    if m.kind == K_BRIDGED:
        return (k.physin != 0 and k.physout != 0) != m.invert
    return 0


cdef inline bint basic_match(Program* p, const CRule* r, Packet* k) noexcept nogil:
    cdef uint32_t v = r.invert
    if ((ip_src(k.data) & r.src_mask) == r.src) == (v & 1):
        return False
    if ((ip_dst(k.data) & r.dst_mask) == r.dst) == ((v >> 1) & 1):
        return False
    if r.iif != 0 and p.interface_match[(r.iif - 1) * MAX_INTERFACES + k.iif] == ((v >> 2) & 1):
        return False
    if r.oif != 0 and p.interface_match[(r.oif - 1) * MAX_INTERFACES + k.oif] == ((v >> 3) & 1):
        return False
    if r.proto != 0 and (k.data[9] == r.proto) == ((v >> 4) & 1):
        return False
    return True


cdef uint32_t primary_address(const Host* host, uint32_t interface, uint32_t towards) noexcept nogil:
    """The address a host gives itself on an interface: one on the destination's subnet, else the first."""
    cdef uint32_t i, first = 0
    for i in range(host.n):
        if host.address[i].interface == interface:
            if first == 0:
                first = host.address[i].address
            if (host.address[i].address ^ towards) & host.address[i].mask == 0:
                return host.address[i].address
    return first


cdef bint set_mss(Packet* k, uint32_t wanted) noexcept nogil:
    """TCPMSS: lower a SYN's MSS option, or add one (never above 536, RFC 9293 3.7.1); False if there is no TCP header."""
    cdef uint32_t off = ip_ihl(k.data), i, n, old, size
    cdef uint8_t* th = k.data + off
    if ip_frag(k.data) & IP_OFFSET:
        return True
    if k.len < off + 20 or k.avail < off + 20:
        return False
    n = (th[12] >> 4) * 4
    if n < 20 or k.len < off + n or k.avail < off + n:
        return False
    i = 20
    while i + 4 <= n:
        if th[i] == 2 and th[i + 1] == 4:
            old = be16(th + i + 2)
            if old > wanted:
                put16(th + i + 2, wanted)
                replace4_at(th + 16, old, wanted)
            return True
        size = th[i + 1] if th[i] > 1 else 1
        i += size if size else 1
    if k.len > off + n or n >= 60 or k.room < k.len + 4:
        return True                                     # data follows, or there is no room for an option
    if wanted > 536:
        wanted = 536
    memmove(th + 24, th + 20, n - 20)
    th[20] = 2
    th[21] = 4
    put16(th + 22, wanted)
    replace4_at(th + 16, n, n + 4)              # the pseudo-header's length
    replace4_at(th + 16, 0, be32(th + 20))
    old = be16(th + 12)
    th[12] += 0x10
    replace4_at(th + 16, old, be16(th + 12))
    put16(k.data + 10, replace2(be16(k.data + 10), k.len, k.len + 4))
    k.len += 4
    k.avail += 4
    put16(k.data + 2, k.len)
    return True


cdef struct Cursor:
    # where a walk stands: in a chain, and the chains it came through
    uint32_t at
    uint32_t end
    int depth
    uint32_t stack_at[STACK]
    uint32_t stack_end[STACK]


cdef inline void enter(const Program* p, Cursor* w, int32_t chain) noexcept nogil:
    w.at = p.chains[chain].first
    w.end = w.at + p.chains[chain].n


cdef inline void jump(const Program* p, Cursor* w, const CRule* r) noexcept nogil:
    """To a user chain; -g does not come back here."""
    if not r.goto_:
        w.stack_at[w.depth] = w.at
        w.stack_end[w.depth] = w.end
        w.depth += 1
    enter(p, w, r.arg)


cdef inline CRule* next_rule(const Program* p, Cursor* w) noexcept nogil:
    """The next rule, back through the chains that have ended; NULL at the end of the base chain."""
    while w.at == w.end:
        if w.depth == 0:
            return NULL
        w.depth -= 1
        w.at = w.stack_at[w.depth]
        w.end = w.stack_end[w.depth]
    w.at += 1
    return &p.rules[w.at - 1]


cdef int map_connection(Program* p, const CRule* r, int hook, Conntrack* c, Packet* k, const Host* host) noexcept nogil:
    """What the nat table's targets do with a connection; NF_ACCEPT, or NF_DROP where the host has no address to give."""
    cdef NatRange nat
    cdef Entry* e = &c.table.entries[k.ct]
    cdef uint32_t address
    cdef int manip = MANIP_DST
    if k.ct == 0:
        return NF_DROP
    if r.target == T_SNAT:
        nat_setup(c, k.ct, &p.ranges[r.arg], MANIP_SRC)
        return NF_ACCEPT
    elif r.target == T_DNAT:
        nat_setup(c, k.ct, &p.ranges[r.arg], MANIP_DST)
        return NF_ACCEPT
    elif r.target == T_NETMAP:
        memset(&nat, 0, sizeof(nat))
        if hook != PREROUTING and hook != LOCAL_OUT:
            manip = MANIP_SRC
        address = (ip_dst(k.data) if manip == MANIP_DST else ip_src(k.data)) & ~r.arg2 | <uint32_t>r.arg
    else:
        nat = p.ranges[r.arg]
        if r.target == T_REDIRECT:
            address = 0x7F000001 if hook == LOCAL_OUT else primary_address(host, k.iif, 0)
        else:                   # MASQUERADE
            if e.tuple[0].src == 0:
                return NF_ACCEPT
            manip = MANIP_SRC
            address = primary_address(host, k.oif, ip_dst(k.data))
            e.masq_oif = k.oif
        if address == 0:
            return NF_DROP
    nat.flags |= RANGE_MAP_IPS
    nat.min_ip = address
    nat.max_ip = address
    nat_setup(c, k.ct, &nat, manip)
    return NF_ACCEPT


cdef int walk(Program* p, int table, int hook, Conntrack* c, Packet* k, const Host* host) noexcept nogil:
    """Walk one table's chain of a hook; NF_ACCEPT, NF_DROP or NF_REJECT."""
    cdef int32_t chain = p.base[table][hook]
    cdef Cursor w
    cdef uint32_t i
    cdef int m
    cdef CRule* r
    cdef CChain* base
    if chain < 0:
        return NF_ACCEPT
    base = &p.chains[chain]
    w.depth = 0
    enter(p, &w, chain)
    while True:
        r = next_rule(p, &w)
        if r == NULL:
            base.packets += 1
            base.bytes += k.len
            return base.policy
        p.walked += 1
        if not basic_match(p, r, k):
            continue
        m = 1
        for i in range(r.n_matches):
            m = match_one(p, &p.matches[r.first_match + i], c, k, host)
            if m <= 0:
                break
        if m < 0:
            return NF_DROP
        if m == 0:
            continue
        r.packets += 1
        r.bytes += k.len
        if r.target == T_NONE:
            continue
        elif r.target == T_ACCEPT:
            return NF_ACCEPT
        elif r.target == T_DROP:
            return NF_DROP
        elif r.target == T_RETURN:
            w.at = w.end
        elif r.target == T_JUMP:
            jump(p, &w, r)
        elif r.target == T_REJECT:
            k.reject = <uint8_t>(r.arg + 1)
            return NF_REJECT
        elif r.target == T_LOG:
            log_packet(&c.log, LOG_RULE, r.arg, c.now, hook, k)
        elif r.target == T_MARK:
            k.mark = (k.mark & ~r.arg2) ^ <uint32_t>r.arg
        elif r.target == T_CONNMARK or r.target == T_SAVE_MARK or r.target == T_RESTORE_MARK:
            if k.ct != 0:
                connmark(r, &c.table.entries[k.ct], k)
        elif r.target == T_TTL:
            set_ttl(k, r.arg, r.arg2)
        elif r.target == T_TOS:
            set_byte(k, 1, (k.data[1] & ~r.arg2) ^ r.arg)
        elif r.target == T_TCPMSS:
            # arg2: --clamp-mss-to-pmtu
            if r.arg2 and k.mtu <= 40 or not set_mss(k, k.mtu - 40 if r.arg2 else <uint32_t>r.arg):
                return NF_DROP
        elif r.target == T_NOTRACK:
            if k.ct == 0:
                k.ctinfo = IP_CT_UNTRACKED
        else:                   # the rest translate: only the nat table has them, and only first packets of a connection walk it
            return map_connection(p, r, hook, c, k, host)


cdef enum:                      # Certainty
    SURELY_NOT = 0
    SURELY = 1
    DEPENDS = 2


cdef int foretell(Program* p, const CRule* r, uint32_t iif, uint32_t oif, uint32_t state) noexcept nogil:
    """Does a rule match a packet of this state between two interfaces, whatever else the packet is?"""
    cdef int answer = SURELY
    cdef const CMatch* m
    cdef uint32_t i
    if r.iif != 0 and p.interface_match[(r.iif - 1) * MAX_INTERFACES + iif] == (r.invert >> 2) & 1:
        return SURELY_NOT
    if r.oif != 0 and p.interface_match[(r.oif - 1) * MAX_INTERFACES + oif] == (r.invert >> 3) & 1:
        return SURELY_NOT
    if r.src_mask or r.dst_mask or r.proto or r.invert & 0x13:
        answer = DEPENDS
    for i in range(r.n_matches):
        m = &p.matches[r.first_match + i]
        if m.kind != K_CTSTATE or not m.a & state and m.a & (CTSTATE_SNAT | CTSTATE_DNAT):
            answer = DEPENDS                        # the last two on the connection
        elif (m.a & state != 0) == (m.invert != 0):
            return SURELY_NOT
    return answer


cdef void find_path(Program* p, uint32_t iif, uint32_t oif, uint32_t state, Path* out) noexcept nogil:
    """Walk FORWARD once for all packets of a state between two interfaces.

    Where a rule depends on more than the interfaces and the connection's state, or does more than accept, there is no
    such path: `out.accepts` is False.
    """
    cdef int32_t chain = p.base[TABLE_FILTER][FORWARD]
    cdef Cursor w
    cdef int match
    cdef CRule* r
    memset(out, 0, sizeof(Path))
    if chain < 0:
        out.accepts = True
        return
    w.depth = 0
    enter(p, &w, chain)
    while True:
        r = next_rule(p, &w)
        if r == NULL:
            out.chain = &p.chains[chain]
            out.accepts = out.chain.policy == NF_ACCEPT
            return
        out.walked += 1
        match = foretell(p, r, iif, oif, state)
        if match == SURELY_NOT:
            continue
        if match == DEPENDS or out.n == 16:
            return
        out.rule[out.n] = r
        out.n += 1
        if r.target == T_ACCEPT:
            out.accepts = True
            return
        if r.target == T_RETURN:
            w.at = w.end
        elif r.target == T_JUMP:
            jump(p, &w, r)
        elif r.target != T_NONE:
            return


cdef void set_ttl(Packet* k, int mode, uint32_t value) noexcept nogil:
    cdef uint32_t old = k.data[8], new = value
    if mode == 1:
        new = old + value if old + value < 255 else 255
    elif mode == 2:
        new = old - value if old > value else 0
    set_byte(k, 8, new)


cdef void set_byte(Packet* k, int at, uint32_t value) noexcept nogil:
    """Change one byte of the IP header, its checksum with it."""
    cdef uint32_t old = be16(k.data + (at & ~1))
    k.data[at] = <uint8_t>value
    replace4_at(k.data + 10, old, be16(k.data + (at & ~1)))


cdef void connmark(const CRule* r, Entry* e, Packet* k) noexcept nogil:
    """The connection's mark is set, or taken from the packet, or given to it: bits of one mask are cleared, others put there by xor."""
    cdef uint32_t nfmask = r.arg, ctmask = r.arg2
    if r.target == T_CONNMARK:
        e.mark = e.mark & ~r.arg2 ^ <uint32_t>r.arg
    elif r.target == T_SAVE_MARK:
        e.mark = e.mark & ~ctmask ^ k.mark & nfmask
    else:
        k.mark = k.mark & ~nfmask ^ e.mark & ctmask


cdef class Compiled:
    """A ruleset compiled for the packet path.

    Interface patterns are matched once per interface, when it gets its number.
    """

    def __cinit__(self, rules):
        rules.check()
        self.rules = rules
        self.patterns = []
        self.rule_refs = []
        self.log_options = []
        cdef int t, h
        for t in range(4):
            for h in range(5):
                self.p.base[t][h] = -1
        cdef list chains = [(table, chain) for table, cs in rules.tables.items() for chain in cs.values()]
        cdef dict numbers = {(table, chain.name): i for i, (table, chain) in enumerate(chains)}
        self.chain_names = [(table, chain.name) for table, chain in chains]
        cdef int n_rules = sum(len(chain.rules) for _, chain in chains)
        cdef list matches = []
        cdef list ranges = []
        self.p.rules = <CRule*>PyMem_Calloc(n_rules + 1, sizeof(CRule))
        self.p.chains = <CChain*>PyMem_Calloc(len(chains) + 1, sizeof(CChain))
        if self.p.rules == NULL or self.p.chains == NULL:
            raise MemoryError
        cdef int at = 0, i
        for i, (table, chain) in enumerate(chains):
            if table == "raw" and chain.name == "PREROUTING" or table == "mangle" and chain.name in ("PREROUTING", "FORWARD", "POSTROUTING"):
                self.p.listed += 1
                self.p.early += len(chain.rules) + (chain.policy != "ACCEPT")
            self.p.chains[i].first = at
            self.p.chains[i].n = len(chain.rules)
            if chain.policy is None:
                self.p.chains[i].policy = POLICY_RETURN
            else:
                self.p.chains[i].policy = NF_ACCEPT if chain.policy == "ACCEPT" else NF_DROP
                t = TABLE_IDS[table]
                h = HOOK_IDS[chain.name]
                self.p.base[t][h] = i
            for rule in chain.rules:
                self.compile_rule(&self.p.rules[at], rule, table, numbers, matches, ranges)
                self.rule_refs.append((table, chain.name, rule))
                at += 1
        self.p.matches = <CMatch*>PyMem_Calloc(len(matches) + 1, sizeof(CMatch))
        self.p.ranges = <NatRange*>PyMem_Calloc(len(ranges) + 1, sizeof(NatRange))
        cdef list names = sorted({spec.name for spec in matches if spec.kind == K_HASHLIMIT})
        cdef int counting = sum(spec.kind == K_CONNLIMIT for spec in matches)
        self.p.hashlimits = <Hashlimit*>PyMem_Calloc(len(names) + 1, sizeof(Hashlimit))
        self.p.connlimits = <Connlimit*>PyMem_Calloc(counting + 1, sizeof(Connlimit))
        if self.p.hashlimits == NULL or self.p.connlimits == NULL:
            raise MemoryError
        self.p.n_hashlimits = len(names)
        self.p.n_connlimits = counting
        if self.p.matches == NULL or self.p.ranges == NULL:
            raise MemoryError
        at = 0
        for i, spec in enumerate(matches):
            self.fill_match(&self.p.matches[i], spec)
            if spec.kind == K_HASHLIMIT:
                self.p.matches[i].a = names.index(spec.name)
                self.fill_hashlimit(&self.p.hashlimits[names.index(spec.name)], spec)
            elif spec.kind == K_CONNLIMIT:
                self.p.matches[i].n = at
                at += 1
        for i, spec in enumerate(ranges):
            self.p.ranges[i].flags = spec.flags
            self.p.ranges[i].min_ip, self.p.ranges[i].max_ip = spec.addresses
            self.p.ranges[i].min_port, self.p.ranges[i].max_port = spec.ports
            self.p.ranges[i].base_port = spec.base_port
        # last: rules and matches have named their patterns
        self.p.interface_match = <uint8_t*>PyMem_Calloc((len(self.patterns) + 1) * MAX_INTERFACES, 1)
        if self.p.interface_match == NULL:
            raise MemoryError
        self.p.n_patterns = len(self.patterns)

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.p.n_hashlimits):
            hashlimit_free(&self.p.hashlimits[i])
        for i in range(self.p.n_connlimits):
            connlimit_free(&self.p.connlimits[i])
        PyMem_Free(self.p.hashlimits)
        PyMem_Free(self.p.connlimits)
        PyMem_Free(self.p.rules)
        PyMem_Free(self.p.chains)
        PyMem_Free(self.p.matches)
        PyMem_Free(self.p.ranges)
        PyMem_Free(self.p.interface_match)

    def take_counters(self, Compiled other):
        """Go on counting where `other` stands, for each rule that both have in the same chain."""
        cdef dict counts = {}
        cdef int i, j
        for i, (table, chain, rule) in enumerate(other.rule_refs):
            counts.setdefault((table, rule.text(chain)), []).append(i)
        for i, (table, chain, rule) in enumerate(self.rule_refs):
            same = counts.get((table, rule.text(chain)))
            if same:
                j = same.pop(0)
                self.p.rules[i].packets = other.p.rules[j].packets
                self.p.rules[i].bytes = other.p.rules[j].bytes
        for i, name in enumerate(self.chain_names):
            if name in other.chain_names:
                j = other.chain_names.index(name)
                self.p.chains[i].packets = other.p.chains[j].packets
                self.p.chains[i].bytes = other.p.chains[j].bytes
        self.p.walked = other.p.walked

    cdef int register(self, int number, str name) except -1:
        """Tell the patterns about interface `number`."""
        cdef int i
        cdef str pattern
        if number >= MAX_INTERFACES:
            raise ValueError(f"at most {MAX_INTERFACES - 1} interfaces")
        for i, pattern in enumerate(self.patterns):
            self.p.interface_match[i * MAX_INTERFACES + number] = (
                name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern)
        return 0

    def pattern(self, str text):
        """Number of an interface pattern."""
        if text not in self.patterns:
            self.patterns.append(text)
        return self.patterns.index(text)

    def counts(self):
        """What every chain's policy and rules have counted (`natfast.rules.Counts`)."""
        cdef dict out = {}
        cdef CChain* chain
        cdef uint32_t i
        cdef int k
        for k, name in enumerate(self.chain_names):
            chain = &self.p.chains[k]
            out[name] = [(chain.packets, chain.bytes)]
            for i in range(chain.first, chain.first + chain.n):
                out[name].append((self.p.rules[i].packets, self.p.rules[i].bytes))
        return out

    cdef int compile_rule(self, CRule* r, object rule, str table, dict numbers, list matches, list ranges) except -1:
        if rule.source is not None:
            r.src, r.src_mask = address(rule.source[1])
            r.invert |= 1 if rule.source[0] else 0
        if rule.destination is not None:
            r.dst, r.dst_mask = address(rule.destination[1])
            r.invert |= 2 if rule.destination[0] else 0
        if rule.iif is not None:
            r.iif = self.pattern(rule.iif[1]) + 1
            r.invert |= 4 if rule.iif[0] else 0
        if rule.oif is not None:
            r.oif = self.pattern(rule.oif[1]) + 1
            r.invert |= 8 if rule.oif[0] else 0
        if rule.protocol is not None:
            r.proto = rule.protocol[1]
            r.invert |= 16 if rule.protocol[0] else 0
        r.first_match = len(matches)
        for m in rule.matches:
            matches.extend(m.lower())
        r.n_matches = len(matches) - r.first_match
        r.goto_ = rule.goto
        if (table, rule.target) in numbers:
            r.target = T_JUMP
            r.arg = numbers[table, rule.target]
            return 0
        spec = rule.lower()
        if spec is None:
            raise RulesError(f"rules: line {rule.line}: target {rule.target!r} is neither known nor a chain of table {table}")
        r.target = spec.kind
        r.arg = <int32_t><uint32_t>spec.a
        r.arg2 = spec.b
        if spec.range is not None:
            r.arg = len(ranges)
            ranges.append(spec.range)
        if r.target == T_LOG:
            r.arg = len(self.log_options)
            self.log_options.append(spec.log)
        return 0

    cdef int fill_hashlimit(self, Hashlimit* h, object spec) except -1:
        """The first match of a name says what its buckets are like."""
        if h.burst == 0:
            h.burst, h.rate, h.mode, h.expire, h.most, h.interval = spec.a, spec.rate, spec.b, spec.c, spec.most, spec.interval
            h.src_mask, h.dst_mask = spec.masks
        return 0

    cdef int fill_match(self, CMatch* m, object spec) except -1:
        cdef int i
        m.kind = spec.kind
        m.invert = spec.invert
        m.a = self.pattern(spec.interface) if spec.interface else spec.a
        m.b = spec.b
        m.c = spec.c
        m.rate = spec.rate
        m.credit = spec.a if m.kind == K_LIMIT else 0
        m.n = len(spec.port)
        for i in range(m.n):
            m.port[i] = spec.port[i]
        return 0
