"""pytest-benchmark suite of the simulator."""
from __future__ import annotations

from typing import Any

import pytest

from benchmarks import plain_simpy
from benchmarks.long_path import long_path
from simcore.study import bench


@pytest.mark.parametrize("containers", [8, 512])
def test_wan_udp(benchmark: Any, containers: int) -> None:
    row = benchmark.pedantic(bench.wan_udp, args=(containers, 0.5), rounds=3)
    assert row["packets"] > 10_000
    benchmark.extra_info.update(row)


def test_wan_udp_simpy_engine(benchmark: Any) -> None:
    row = benchmark.pedantic(bench.wan_udp, args=(8, 0.2, 1, "simpy"), rounds=2)
    benchmark.extra_info.update(row)
    assert row["packets"] > 4000


def test_wan_udp_plain_simpy(benchmark: Any) -> None:
    row = benchmark.pedantic(plain_simpy.wan_udp, args=(8, 0.2), rounds=2)
    benchmark.extra_info.update(row)
    assert row["packets"] > 4000


def test_wan_tcp(benchmark: Any) -> None:
    row = benchmark.pedantic(bench.wan_tcp, args=(8, 1.0), rounds=2)
    benchmark.extra_info.update(row)
    assert row["delivered_mbps"] > 50


def test_long_path_that_loses(benchmark: Any) -> None:
    row = benchmark.pedantic(long_path, rounds=2)
    benchmark.extra_info.update(row)
    assert row["most_in_flight"] > 20_000
    assert row["retransmits"] > 1000
