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
# # How many users does this link stand?
#
# Workers in a container behind one host's NAT ask an API over a link of 50 Mbit/s (`examples/capacity.yaml`). Each of $N$ users
# thinks for $Z$ = 0.5 s on average, asks, and waits for an answer of 20 KiB on average. Operational analysis bounds what comes of it,
# whatever the distributions are. With $D$ seconds of the link for an answer and $R_0$ seconds for it when nobody else is there,
#
# $$X(N) \le \min\left(\frac{N}{Z + R_0},\ \frac{1}{D}\right), \qquad N^* = \frac{Z + R_0}{D}.$$
#
# Up to $N^*$ users each one adds to the throughput; beyond, each one only makes the others wait. The bounds say nothing of the 99th
# percentile, nor of what TCP makes of a queue of 100 frames: that is simulated, with 95 % confidence intervals over five runs.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from simcore.study.plan import Limit, Range, plan
from simcore.study.sweep import sweep

ROOT = next(p for p in (Path.cwd(), *Path.cwd().parents) if (p / "examples").is_dir())
FILE = ROOT / "examples" / "capacity.yaml"
WARM = {"warmup": 2, "duration": 12}
LONG = {"warmup": 2, "duration": 42}

THINK, RATE, BODY = 0.5, 50e6, 20 * 1024
FRAME, SEGMENT = 1514, 1448                         # a full segment's frame, and the payload in it
D = BODY * FRAME / SEGMENT * 8 / RATE               # seconds of the link for an answer
alone = sweep(FILE, settings={"workloads.0.users": 1, "duration": 500}, runs=5)
R0 = alone.estimate(0, "workloads.0.response_s.mean")
knee = (THINK + R0.mean) / D
print(f"D = {D * 1e3:.2f} ms, R0 = {R0.mean * 1e3:.1f} ± {R0.half * 1e3:.1f} ms, 1/D = {1 / D:.0f} requests/s, N* = {knee:.0f} users")

# %% [markdown]
# ## Simulated

# %%
USERS = [25, 50, 100, 130, 160, 200, 300]
results = sweep(FILE, {"workloads.0.users": USERS}, settings=LONG, runs=5)
x = [results.estimate(i, "workloads.0.requests_per_s") for i in range(len(USERS))]
p99 = [results.estimate(i, "workloads.0.response_s.p99") for i in range(len(USERS))]
bound = [min(n / (THINK + R0.mean), 1 / D) for n in USERS]
for n, a, b, c in zip(USERS, x, bound, p99, strict=True):
    print(f"{n:4d} users: {a.mean:6.1f} ± {a.half:4.1f} requests/s (at most {b:5.1f}), p99 {c.mean * 1e3:5.0f} ± {c.half * 1e3:4.0f} ms")
results.frame()[["workloads.0.users", "seed", "workloads.0.requests_per_s", "links.api/eth0.utilisation"]].head()

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
grid = np.linspace(0, USERS[-1], 200)
left.plot(grid, np.minimum(grid / (THINK + R0.mean), 1 / D), "k--", label="bounds")
left.errorbar(USERS, [e.mean for e in x], [e.half for e in x], fmt="o", capsize=3, label="simulated")
left.axvline(knee, color="grey", lw=0.8)
left.set(xlabel="users", ylabel="requests/s", title="Throughput")
left.legend()
right.errorbar(USERS, [e.mean * 1e3 for e in p99], [e.half * 1e3 for e in p99], fmt="o-", capsize=3)
right.axhline(200, color="tab:red", ls="--", lw=1)
right.axvline(knee, color="grey", lw=0.8)
right.set(xlabel="users", ylabel="p99 of response times, ms", yscale="log", title="What the slowest hundredth sees")
fig.tight_layout()
plt.show()

# %% [markdown]
# The throughput keeps to the bounds, as exactly as it is known: half way to the knee the link might as well be twice as fast, and beyond
# it its whole rate is used. The percentile leaves its plateau long before the knee.

# %%
assert all(e.mean < 1.03 * b for e, b in zip(x, bound, strict=True))
assert all(e.mean > 0.97 * b for n, e, b in zip(USERS, x, bound, strict=True) if not 0.6 * knee < n < 1.4 * knee)
assert p99[-1].low > 5 * p99[0].high

# %% [markdown]
# ## How many, then, if one request in a hundred may take 200 ms?

# %%
LIMIT = [Limit.parse("workloads.0.response_s.p99<=200ms")]
as_it_is = plan(FILE, "workloads.0.users", Range.parse("50..250"), LIMIT, settings=WARM, runs=4, most_runs=8)
FASTER = {**WARM, "links.server.rate": "100Mbit"}
twice = plan(FILE, "workloads.0.users", Range.parse("100..500"), LIMIT, settings=FASTER, runs=4, most_runs=4, tolerance=0.05)
for name, found in (("50 Mbit/s", as_it_is), ("100 Mbit/s", twice)):
    print(f"{name}: {found.answer()}")
    for finding, runs in found.results.findings(found.number(found.bad)):
        print(f"    {finding['text']} (in {runs} of {len(found.bad.runs)} runs)")

# %%
users = [found.good.settings["workloads.0.users"] for found in (as_it_is, twice)]
assert 0.4 * knee < users[0] < knee                 # the percentile asks for more than the mean
assert 1.8 < users[1] / users[0] < 2.8              # twice the rate, twice the users or more: larger systems queue less
