import ipaddress

from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free

from natfast.headers cimport ETH_P_IP, IPPROTO_TCP, IPPROTO_UDP, be16, ip_dst, ip_frag, ip_ihl, ip_src

cdef enum:
    IP = 14

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "sctp": 132}
KEYS = ("class", "mark", "src", "dst", "protocol", "sport", "dport", "dscp")


cdef class Filters:
    """An ordered list of filters; the first that fits decides.

    Parameters
    ----------
    filters : list of dict
        `class`: its name; and any of `mark` (a number, or `value/mask`), `src` and `dst` (networks), `protocol`
        (tcp, udp, icmp, sctp or a number), `sport` and `dport` (a port or `from-to`), `dscp` (a number).
    names : list of str
        The classes.

    Raises
    ------
    ValueError
        For an unknown key, class or value.
    """

    def __cinit__(self, filters, names):
        cdef Rule* r
        self.rules = <Rule*>calloc(max(len(filters), 1), sizeof(Rule))
        if self.rules == NULL:
            raise MemoryError
        for given in filters:
            unknown = set(given) - set(KEYS)
            if unknown:
                raise ValueError(f"filter: {', '.join(map(str, sorted(unknown)))}: unknown, expected {', '.join(KEYS)}")
            if given.get("class") not in names:
                raise ValueError(f"filter: class {given.get('class')!r} does not exist, expected one of {', '.join(map(str, names))}")
            r = &self.rules[self.n]
            r.target = names.index(given["class"])
            protocol = given.get("protocol")
            r.protocol = -1 if protocol is None else PROTOCOLS[protocol] if protocol in PROTOCOLS else int(protocol)
            r.dscp = -1 if given.get("dscp") is None else int(given["dscp"])
            if given.get("mark") is not None:
                value, _, mask = str(given["mark"]).partition("/")
                r.mark = int(value, 0)
                r.mark_mask = int(mask, 0) if mask else 0xFFFFFFFF
            for key in ("src", "dst"):
                if given.get(key) is not None:
                    net = ipaddress.IPv4Network(given[key])
                    if key == "src":
                        r.src = int(net.network_address)
                        r.src_mask = int(net.netmask)
                    else:
                        r.dst = int(net.network_address)
                        r.dst_mask = int(net.netmask)
            r.sport[0], r.sport[1] = port_range(given.get("sport"))
            r.dport[0], r.dport[1] = port_range(given.get("dport"))
            self.n += 1

    def __dealloc__(self):
        free(self.rules)

    cdef int classify(self, const Frame* f) noexcept:
        """The index of its class, -1 if no filter fits."""
        cdef const uint8_t* ip = f.data + IP
        cdef const Rule* r
        cdef int i, sport = -1, dport = -1
        cdef uint32_t l4
        cdef bint is_ip = f.have >= IP + 20 and be16(f.data + 12) == ETH_P_IP
        if is_ip:
            l4 = IP + ip_ihl(ip)
            if ip_frag(ip) & 0x1FFF == 0 and f.have >= l4 + 4 and (ip[9] == IPPROTO_TCP or ip[9] == IPPROTO_UDP or ip[9] == 132):
                sport = be16(f.data + l4)
                dport = be16(f.data + l4 + 2)
        for i in range(self.n):
            r = &self.rules[i]
            if (f.mark ^ r.mark) & r.mark_mask:
                continue
            if r.src_mask or r.dst_mask or r.protocol >= 0 or r.dscp >= 0 or r.sport[1] or r.dport[1]:
                if not is_ip or (ip_src(ip) ^ r.src) & r.src_mask or (ip_dst(ip) ^ r.dst) & r.dst_mask:
                    continue
                if r.protocol >= 0 and r.protocol != ip[9] or r.dscp >= 0 and r.dscp != ip[1] >> 2:
                    continue
                if r.sport[1] and not r.sport[0] <= sport <= r.sport[1] or r.dport[1] and not r.dport[0] <= dport <= r.dport[1]:
                    continue
            return r.target
        return -1


def port_range(text):
    """(from, to) of `80` or `8000-8080`; (0, 0) for None."""
    if text is None:
        return 0, 0
    first, _, last = str(text).partition("-")
    low, high = int(first), int(last or first)
    if not 1 <= low <= high <= 65535:
        raise ValueError(f"filter: {text!r} is no port or range of ports")
    return low, high
