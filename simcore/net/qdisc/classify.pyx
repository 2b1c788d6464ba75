import ipaddress

from natfast.values import DSCP as CLASSES

from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free

from natfast.headers cimport ETH_P_IP, IPPROTO_TCP, IPPROTO_UDP, be16, ip_dst, ip_frag, ip_ihl, ip_src
from simcore.engine.frame cimport IP

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "sctp": 132}
DSCP = {name.lower(): value for name, value in CLASSES.items()}
KEYS = ("class", "mark", "src", "dst", "protocol", "sport", "dport", "dscp")


cdef class Filters:
    """An ordered list of filters; the first that fits decides.

    Parameters
    ----------
    filters : list of dict
        `class`: its name; and any of `mark` (a number, or `value/mask`), `src` and `dst` (networks), `protocol`
        (tcp, udp, icmp, sctp or a number), `sport` and `dport` (a port or `from-to`), `dscp` (a number, or a class's name as ef).
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
            r.protocol = -1 if given.get("protocol") is None else number("protocol", given["protocol"], 255, PROTOCOLS)
            r.dscp = -1 if given.get("dscp") is None else number("dscp", given["dscp"], 63, DSCP)
            if given.get("mark") is not None:
                value, _, mask = str(given["mark"]).partition("/")
                r.mark = number("mark", value, 0xFFFFFFFF)
                r.mark_mask = number("mark", mask, 0xFFFFFFFF) if mask else 0xFFFFFFFF
            for key in ("src", "dst"):
                if given.get(key) is not None:
                    try:
                        net = ipaddress.IPv4Network(str(given[key]))
                    except ValueError:
                        raise ValueError(f"filter: {key}: {given[key]!r} is no address or network") from None
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


def number(key, text, most, names=()):
    """A number up to `most`, also with a base as 0xff, or one of the names."""
    if str(text).lower() in names:
        return names[str(text).lower()]
    try:
        value = int(str(text), 0)
    except ValueError:
        value = -1
    if not 0 <= value <= most:
        raise ValueError(f"filter: {key}: {text!r}: expected a number from 0 to {most}" + (f", or one of {', '.join(names)}" if names else ""))
    return value


def port_range(text):
    """(from, to) of `80` or `8000-8080`; (0, 0) for None."""
    if text is None:
        return 0, 0
    first, _, last = str(text).partition("-")
    try:
        low, high = int(first), int(last or first)
    except ValueError:
        low = high = 0
    if not 1 <= low <= high <= 65535:
        raise ValueError(f"filter: {text!r} is no port or range of ports")
    return low, high
