# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How many new connections a second does one host address sustain towards one destination?
#
# Masquerading gives every connection to one (address, port) a source port of its own. A port is taken for the
# life of the connection and then while conntrack keeps it in TIME_WAIT, 120 s by default:
#
# $$\lambda_{max} = \frac{P}{L + T_{TIME\_WAIT}}$$
#
# With the 64 512 ports from 1024 up and connections of $L$ = 1 s that is 533 new connections a second, to *one*
# destination; towards others the same ports are free. This notebook computes it and lets the packet path show it.

# %%
import struct

import matplotlib.pyplot as plt
import numpy as np

import natfast
from natfast.checksum import internet_checksum

TIME_WAIT = 120.0


def capacity(ports: int, lifetime: float, time_wait: float = TIME_WAIT) -> float:
    """New connections per second, by Little's law."""
    return ports / (lifetime + time_wait)


for lifetime in (0.1, 1, 10, 60, 600):
    print(f"lifetime {lifetime:>5} s: {capacity(64512, lifetime):7.1f} connections/s to one destination")

# %% [markdown]
# ## Simulated
#
# Real TCP segments through natfast's conntrack and NAT, with a range of 600 ports so that it fills within minutes.
# Each connection is opened, lives, is closed by its client, and goes through TIME_WAIT as Linux keeps it.
#
# Linux has a surprise here. When a port search is about to fail it takes over a TIME_WAIT port *if the new SYN's
# sequence number is above the old connection's*. With random initial sequence numbers, as every modern client has
# them, some port in TIME_WAIT nearly always qualifies. So three kinds of client are simulated: numbers that always
# fall (nothing can be taken over: the formula's case), random ones, and ones that always grow.

# %%
PORTS = 600
LIFETIME = 5.0
RULES = natfast.Rules.from_iptables_save(f"""*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -p tcp -j MASQUERADE --to-ports 20000-{20000 + PORTS - 1}
COMMIT
""")
SERVER, HOST = bytes([93, 184, 216, 34]), bytes([192, 168, 1, 100])


def segment(src: bytes, sport: int, dst: bytes, dport: int, flags: int, seq: int, ack: int) -> bytearray:
    """An Ethernet frame with one TCP segment."""
    tcp = bytearray(struct.pack(">HHIIBBHHH", sport, dport, seq % 2**32, ack % 2**32, 0x50, flags, 64240, 0, 0))
    tcp[16:18] = internet_checksum(src + dst + struct.pack(">HH", 6, 20) + tcp).to_bytes(2, "big")
    ip = bytearray(struct.pack(">BBHHHBBH", 0x45, 0, 40, 1, 0x4000, 64, 6, 0) + src + dst)
    ip[10:12] = internet_checksum(ip).to_bytes(2, "big")
    return bytearray(12) + b"\x08\x00" + ip + tcp


def blocked_share(rate: float, sequence: str, horizon: float = 500.0, warm: float = 200.0) -> float:
    """Share of connections that find no port, after the table has filled."""
    nat = natfast.Netfilter(RULES, {"docker0": ["172.17.0.1/16"], "eth0": ["192.168.1.100/24"]}, seed=1)
    rng = np.random.default_rng(1)
    starts = np.cumsum(rng.exponential(1 / rate, int(rate * horizon)))
    todo = []                                           # (time, connection, what)
    for i, t in enumerate(starts):
        todo += [(t, i, "open"), (t + LIFETIME, i, "close")]
    todo.sort()
    mapped: dict[int, int] = {}
    tried = failed = 0

    def send(frame: bytearray, out: bool, now: float) -> bytearray | None:
        buf = np.frombuffer(frame, np.uint8).copy().reshape(1, -1)
        way = ("docker0", "eth0") if out else ("eth0", "docker0")
        verdict = nat.forward(buf, np.array([len(frame)], np.uint32), *way, now)[0]
        return bytearray(buf[0].tobytes()) if verdict == natfast.ACCEPT else None

    isn = {"growing": lambda i: 1000 * i, "falling": lambda i: 2**30 - 1000 * i,
           "random": lambda i: int(rng.integers(2**32))}[sequence]
    numbers: dict[int, int] = {}
    for now, i, what in todo:
        client, port = bytes([172, 17, 1 + i // 60000, 2 + i % 250]), 1024 + i % 60000
        if what == "open":
            numbers[i] = isn(i)
            out = send(segment(client, port, SERVER, 80, 0x02, numbers[i], 0), True, now)
            if now > warm:
                tried += 1
                failed += out is None
            if out is not None:
                mapped[i] = int.from_bytes(out[34:36], "big")
                send(segment(SERVER, 80, HOST, mapped[i], 0x12, 7000, numbers[i] + 1), False, now)
                send(segment(client, port, SERVER, 80, 0x10, numbers[i] + 1, 7001), True, now)
        elif i in mapped:
            n = numbers[i]
            send(segment(client, port, SERVER, 80, 0x11, n + 1, 7001), True, now)
            send(segment(SERVER, 80, HOST, mapped[i], 0x11, 7001, n + 2), False, now)
            send(segment(client, port, SERVER, 80, 0x10, n + 2, 7002), True, now)
    return failed / tried


limit = capacity(PORTS, LIFETIME)
factors = [0.5, 0.9, 1.1, 1.5, 2.0]
shares = {s: [blocked_share(f * limit, s) for f in factors] for s in ("falling", "random", "growing")}
for name, row in shares.items():
    print(f"{name:>8}: " + "  ".join(f"{f:.1f}x {100 * v:5.1f} %" for f, v in zip(factors, row, strict=True)))

# %% [markdown]
# Below the limit nothing is dropped. Beyond it, with sequence numbers that never help, at least what does not fit
# fails, $1 - \lambda_{max}/\lambda$; a little more, because Linux's search is bounded (some 240 tries) and
# gives up while a few ports are still free. With random numbers TIME_WAIT costs nothing at these rates: what is left is
# the limit by open connections, $P / L$, here 120 a second.

# %%
assert max(v[0] for v in shares.values()) == 0.0
fits_not = [max(0.0, 1 - 1 / f) for f in factors]
assert all(a - 0.02 <= b <= a + 0.15 for a, b in zip(fits_not, shares["falling"], strict=True))
assert max(shares["random"] + shares["growing"]) < 0.01

# %%
fig, ax = plt.subplots(figsize=(7, 4))
x = np.linspace(0.4, 2.1, 200)
ax.plot(x * limit, 100 * np.clip(1 - 1 / x, 0, None), "k--", label="formula: 1 - ports / (rate · (life + TIME_WAIT))")
for name, row in shares.items():
    ax.plot(np.array(factors) * limit, 100 * np.array(row), "o-", label=f"simulated, {name} sequence numbers")
ax.axvline(limit, color="grey", lw=0.8)
ax.set(xlabel="new connections per second to one destination", ylabel="connections that get no port, %",
       title=f"{PORTS} ports, connections of {LIFETIME:.0f} s, TIME_WAIT 120 s")
ax.legend()
fig.tight_layout()
plt.show()
