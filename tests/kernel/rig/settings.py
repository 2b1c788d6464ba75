"""Boxes with drawn settings; `python settings.py OUT_DIR` records one conversation with each (the rig up, as root),
half of them with drawn rules, too.

A case is a .jsonl as `oracle.py` makes them, with its whole box beside it as .json.
"""
import argparse, json, pathlib, random, subprocess
import kinds
from oracle import Box

DATA = pathlib.Path(__file__).parents[2] / "data" / "oracle"

SYSCTL = {
    "net.ipv4.conf.all.rp_filter": (0, 1, 2), "net.ipv4.conf.all.send_redirects": (0, 1), "net.ipv4.conf.all.route_localnet": (0, 1),
    "net.ipv4.ip_default_ttl": (64, 1, 2, 255), "net.ipv4.ip_forward": (1, 1, 1, 0),
    **{f"net.ipv4.conf.{name}.rp_filter": (0, 1, 2) for name in ("docker0", "eth0")},
    **{f"net.ipv4.conf.{name}.forwarding": (1, 1, 0) for name in ("docker0", "eth0")},
    **{f"net.netfilter.nf_conntrack_{name}": values for name, values in {
        "tcp_loose": (1, 0), "tcp_be_liberal": (0, 1), "tcp_ignore_invalid_rst": (0, 1), "checksum": (1, 0), "acct": (0, 1),
        "tcp_max_retrans": (3, 0, 1), "tcp_timeout_established": (432000, 200), "tcp_timeout_max_retrans": (300, 77),
        "tcp_timeout_unacknowledged": (300, 99), "tcp_timeout_syn_sent": (120, 400), "tcp_timeout_close": (10, 500),
        "udp_timeout": (30, 11), "icmp_timeout": (30, 700), "generic_timeout": (600, 44), "sctp_timeout_closed": (10, 55),
        "gre_timeout": (30, 66)}.items()}}
"""What a box may be told, the default first."""
NO_PROXY = {"-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n":
                "-A POSTROUTING -o docker0 -m addrtype --src-type LOCAL -j MASQUERADE\n-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n",
            "-A OUTPUT ! -d 127.0.0.0/8 -m": "-A OUTPUT -m", "-A DOCKER -i docker0 -j RETURN\n": "", "-A DOCKER ! -i docker0 -p tcp": "-A DOCKER -p tcp"}
"""What Docker writes otherwise where it runs without its userland proxy; it sets hairpin and route_localnet then."""


def usual(brnf):
    """The rig's box as it comes up."""
    box = json.loads((DATA / ("box.json" if brnf else "box-brnf0.json")).read_text())
    return {**box, "rules": (DATA / "docker.v4").read_text(), "sysctl": {**box["sysctl"], **{key: values[0] for key, values in SYSCTL.items()}}}


def drawn(rng, brnf):
    """A box with other sysctls, hairpin ports, another MTU on the way out, with docker-proxy or without."""
    box = usual(brnf)
    box["sysctl"] |= {key: rng.choice(values) for key, values in SYSCTL.items() if rng.random() < 0.3}
    hairpin = [rng.random() < 0.3, rng.random() < 0.3]
    box["interfaces"]["eth0"]["mtu"] = rng.choice((1500, 1500, 1000, 576))
    if rng.random() < 0.3:
        hairpin = [True, True]
        box["sysctl"]["net.ipv4.conf.all.route_localnet"] = 1
        for with_proxy, without in NO_PROXY.items():
            assert with_proxy in box["rules"]
            box["rules"] = box["rules"].replace(with_proxy, without)
    for port, on in zip(("vethc1", "vethc2"), hairpin):
        box["interfaces"][port]["hairpin"] = on
    return box


def fitting(steps, box):
    """Of these steps, those that the links of a box take."""
    return [(wire, frame) for wire, frame in steps if len(frame) <= box["interfaces"][wire]["mtu"] + 14]


def unusual(box):
    """What is told in one line of a box."""
    told = {key: value for key, value in box["sysctl"].items() if value != SYSCTL.get(key, (value,))[0]}
    return f"{told}, hairpin {[box['interfaces'][port]['hairpin'] for port in ('vethc1', 'vethc2')]}, MTU {box['interfaces']['eth0']['mtu']}\n{box['rules']}"


def set_up(box):
    """Make the rig that is up like this."""
    def run(*words, **options):
        subprocess.run(words, check=True, **options)
    for port in ("vethc1", "vethc2"):
        run("ip", "-n", "natbox", "link", "set", port, "type", "bridge_slave", "hairpin", "on" if box["interfaces"][port]["hairpin"] else "off")
    for namespace, link in (("natbox", "eth0"), ("natrig", "wan")):
        run("ip", "-n", namespace, "link", "set", link, "mtu", str(box["interfaces"]["eth0"]["mtu"]))
    run("ip", "netns", "exec", "natbox", "sysctl", "-qw", *(f"{key}={value}" for key, value in box["sysctl"].items() if key in SYSCTL))
    empty = "".join(f"*{table}\nCOMMIT\n" for table in ("raw", "mangle", "nat", "filter") if f"*{table}\n" not in box["rules"])
    run("ip", "netns", "exec", "natbox", "iptables-restore", input=empty + box["rules"], text=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=60)
    options = parser.parse_args()
    real = Box()
    for k in range(options.count):
        rng = random.Random(f"{options.seed}/settings/{k}")
        box = drawn(rng, True)
        box["sysctl"]["net.ipv4.conf.all.send_redirects"] = 0      # how many there are depends on earlier cases
        if k % 2:
            box["rules"] = kinds.random_rules(rng)
        set_up(box)
        kind = rng.choice(list(kinds.KINDS))
        steps = fitting(kinds.KINDS[kind](rng), box)
        rows = real.run([(0, wire, frame) for wire, frame in steps])
        name = options.out / f"settings-{options.seed}-{k:03}-{kind}"
        name.with_suffix(".json").write_text(json.dumps(box, indent=1) + "\n")
        name.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
