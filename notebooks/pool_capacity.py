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
# # How many connections to the database?
#
# A web service makes $k$ = 3 calls to its database for each request, $S$ = 10 ms each on average, over a pool of $m$ connections
# (`examples/problems/connection-pool.yaml`). Requests come at $\lambda$ a second, whether or not those before are answered. The pool is a
# queue with $m$ servers and an offered load of $a = \lambda k S$ connections: below $a$ it never ends, and above it Erlang's C formula
# says how long a call waits if calls come at random,
#
# $$C(m, a) = \frac{\frac{a^m}{m!}\frac{m}{m - a}}{\sum_{n<m}\frac{a^n}{n!} + \frac{a^m}{m!}\frac{m}{m - a}},\qquad
#   W = \frac{C(m, a)\,S}{m - a}.$$
#
# They do not quite: a request's second call comes when its first is answered. What that and the network change is simulated, packet by
# packet through Docker's bridge, with 95 % confidence intervals over four runs.

# %%
from math import factorial
from pathlib import Path

import matplotlib.pyplot as plt

from simcore.study.sweep import sweep

ROOT = next(p for p in (Path.cwd(), *Path.cwd().parents) if (p / "examples").is_dir())
FILE = ROOT / "examples" / "problems" / "connection-pool.yaml"
RATE, CALLS, S = 300, 3, 0.01
a = RATE * CALLS * S


def asking(rate):
    """Settings: requests at a rate, instead of the file's users."""
    load = {"kind": "load", "from": "users", "to": "host", "port": 80, "served-by": "web", "server-port": 8000, "response-size": "1k"}
    return {"workloads.0": {**load, "rate": rate}, "warmup": 2, "duration": 17}


def wait(m, a):
    """Seconds that a call waits, by Erlang's C formula."""
    last = a**m / factorial(m) * m / (m - a)
    return last / (sum(a**n / factorial(n) for n in range(m)) + last) * S / (m - a)


# %%
POOL = "services.web.x-simcore.app.calls.0.pool"
CALL = "apps.web:8000.calls.db:5432"
SIZES = [10, 11, 12, 16]
results = sweep(FILE, {POOL: SIZES}, settings=asking(RATE), runs=4)
waits = [results.estimate(i, f"{CALL}.wait_s.mean") for i in range(len(SIZES))]
p99 = [results.estimate(i, "workloads.0.response_s.p99") for i in range(len(SIZES))]
used = [results.estimate(i, f"{CALL}.utilisation") for i in range(len(SIZES))]
print(f"offered: {a:.1f} connections")
for m, w, p, u in zip(SIZES, waits, p99, used, strict=True):
    print(f"{m:3d} connections: in use {u.mean:5.1%}, a call waits {w.mean * 1e3:6.2f} ± {w.half * 1e3:5.2f} ms "
          f"(Erlang C: {wait(m, a) * 1e3:5.2f}), response p99 {p.mean * 1e3:4.0f} ± {p.half * 1e3:3.0f} ms")

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
left.plot(SIZES, [wait(m, a) * 1e3 for m in SIZES], "k--", label="Erlang C")
left.errorbar(SIZES, [w.mean * 1e3 for w in waits], [w.half * 1e3 for w in waits], fmt="o", capsize=3, label="simulated")
left.set(xlabel="connections", ylabel="a call's wait for one, ms", yscale="log", title=f"{RATE} requests/s")
left.legend()
right.errorbar(SIZES, [p.mean * 1e3 for p in p99], [p.half * 1e3 for p in p99], fmt="o-", capsize=3)
right.set(xlabel="connections", ylabel="p99 of response times, ms", title="What the slowest hundredth sees")
fig.tight_layout()
plt.show()

# %%
assert all(abs(u.mean - a / m) < 0.03 for m, u in zip(SIZES, used, strict=True))
assert all(0.5 < w.mean / wait(m, a) < 1.5 for m, w in zip(SIZES[1:3], waits[1:3], strict=True))
assert p99[0].mean > 1.3 * p99[-1].mean

# %% [markdown]
# ## One service with sixteen, or four with four each?
#
# Replicas share the work, but not their connections: one's calls wait while another's connections are idle. The formula makes more of
# that than there is: requests are dealt out to the replicas in turn, so that each gets them more evenly than at random.

# %%
BUSY, ALL = 420, 16
offered = BUSY * CALLS * S
split = {}
for replicas in (1, 2, 4):
    m = ALL // replicas
    settings = {**asking(BUSY), POOL: m, "services.front": {"image": "proxy"}, "services.web.ports": [],
                "services.web.deploy.replicas": replicas}
    settings["workloads.0"] |= {"from": "front", "to": "web", "port": 8000}
    found = sweep(FILE, settings=settings, runs=4)
    split[replicas] = found.estimate(0, f"apps.web{'-1' if replicas > 1 else ''}:8000.calls.db:5432.wait_s.mean")
    print(f"{replicas} with {m:2d} each: a call waits {split[replicas].mean * 1e3:5.2f} ± {split[replicas].half * 1e3:4.2f} ms "
          f"(Erlang C: {wait(m, offered / replicas) * 1e3:5.2f})")

# %%
assert split[1].mean < split[2].mean < split[4].mean
assert split[1].mean < split[4].low
