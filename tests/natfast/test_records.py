"""Captures of either format, byte order and resolution; damaged ones; and a long one translated as its packets are one by one."""
from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natfast import ACCEPT, CaptureError, Netfilter
from natfast.bench import _fill_checksums, _frames
from natfast.box import load_box
from natfast.capture import PcapngWriter, read
from natfast.records import Records
from natfast.translate import translate

NS = st.integers(0, (1 << 32) * 10**9 - 1)
PACKETS = st.lists(st.tuples(NS, st.binary(max_size=80), st.integers(0, 2000)), max_size=20)


def everything(data: bytes) -> tuple[list[tuple[int, ...]], list[str]]:
    """Records of a file, and its interfaces' names."""
    records, out = Records(data, "x"), []
    while len(table := records.take(3)):
        out += table.tolist()
    assert records.at == len(data)
    return out, records.names


def pcap(packets: list[tuple[int, bytes, int]], order: str, nanoseconds: bool) -> bytes:
    unit = 1 if nanoseconds else 1000
    out = struct.pack(order + "IHHiIII", 0xA1B23C4D if nanoseconds else 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
    for ns, frame, more in packets:
        out += struct.pack(order + "IIII", ns // 10**9, ns % 10**9 // unit, len(frame), len(frame) + more) + frame
    return out


def block(order: str, kind: int, body: bytes) -> bytes:
    body += b"\0" * (-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def section(packets: list[tuple[int, bytes, int]], order: str, resolution: int | None) -> bytes:
    """A pcapng section of two interfaces with packets by turns; a block that nobody knows in between."""
    out = block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    for name in (b"one", b""):
        options = struct.pack(order + "HH4s", 2, len(name), name.ljust(4, b"\0")) if name else b""
        if resolution is not None:
            options += struct.pack(order + "HHB3x", 9, 1, resolution)
        out += block(order, 1, struct.pack(order + "HHI", 1, 0, 0) + options)
    for i, (ns, frame, more) in enumerate(packets):
        t = ns * ticks(resolution) // 10**9
        out += block(order, 6, struct.pack(order + "IIIII", i % 2, t >> 32, t & 0xFFFFFFFF, len(frame), len(frame) + more)
                     + frame + b"\0" * (-len(frame) % 4) + struct.pack(order + "HH", 0, 0))
        out += block(order, 0x0BAD, b"what")
    return out


def ticks(resolution: int | None) -> int:
    """Of a second."""
    if resolution is None:
        return 10**6
    return 1 << (resolution & 127) if resolution & 128 else 10 ** resolution


@given(PACKETS, st.sampled_from("<>"), st.booleans())
def test_pcap(packets: list[tuple[int, bytes, int]], order: str, nanoseconds: bool) -> None:
    data = pcap(packets, order, nanoseconds)
    records, names = everything(data)
    unit = 1 if nanoseconds else 1000
    assert [(ns, data[at:at + have], length - have, interface) for at, ns, have, length, interface, _ in records] == [
        (ns // unit * unit, frame, more, 0) for ns, frame, more in packets]
    assert names == [""]


@given(PACKETS, PACKETS, st.sampled_from(("<<", "<>", ">>")), st.sampled_from((None, 0, 3, 6, 9, 0x80, 0x80 + 20, 0x80 + 31)))
def test_pcapng(first: list[tuple[int, bytes, int]], second: list[tuple[int, bytes, int]], orders: str, resolution: int | None) -> None:
    data = section(first, orders[0], resolution) + section(second, orders[1], 9)
    records, names = everything(data)
    assert names == ["one", "", "one", ""]
    wanted = []
    for packets, each, base in ((first, resolution, 0), (second, 9, 2)):
        per_second = ticks(each)
        wanted += [(ns * per_second // 10**9 * 10**9 // per_second, frame, more, base + i % 2)
                   for i, (ns, frame, more) in enumerate(packets)]
    assert [(ns, data[at:at + have], length - have, interface)
            for at, ns, have, length, interface, _ in records] == wanted


def test_resolutions_finer_than_a_nanosecond() -> None:
    ns = 1_700_000_000_123_456_789
    for resolution in (10, 0x80 + 33):
        (record,), _ = everything(section([(ns, b"x" * 60, 0)], "<", resolution))
        assert abs(record[1] - ns) <= 1


def test_damage_is_an_error_or_nothing() -> None:
    """Whatever is changed or cut off, either it is still a capture, whose frames lie within it, or it is said that it is none."""
    r, refused = random.Random(1), 0
    packets = [(i, bytes(20 + i), 0) for i in range(6)]
    whole = [pcap(packets, "<", True), section(packets, "<", 9), section(packets, ">", None)]
    for _ in range(4000):
        data = bytearray(r.choice(whole))
        for _ in range(r.choice((0, 1, 1, 2, 5))):
            data[r.randrange(len(data))] = r.choice((0, 1, 3, 0x7F, 0x80, 0xFF, r.randrange(256)))
        del data[r.choice((len(data), len(data), r.randrange(len(data)))):]
        try:
            records, _ = everything(bytes(data))
        except CaptureError:
            refused += 1
        else:
            assert all(at + have <= len(data) for at, _, have, *_ in records)
    assert 1000 < refused < 3900


@pytest.mark.parametrize("content", [b"", b"\x0a\x0d\x0d\x0a", b"\xd4\xc3\xb2\xa1" + bytes(19)])
def test_files_that_end_at_once(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(CaptureError):
        list(read(tmp_path / "a"))


def test_a_long_capture_is_translated_as_its_packets_one_by_one(data: Path, tmp_path: Path) -> None:
    """3 000 connections, both ways in any order, some of it no business of the host's; times to the nanosecond."""
    flows, rng = 3000, np.random.default_rng(1)
    every = np.arange(flows)

    def answers(stage: str, numbers: np.ndarray) -> np.ndarray:
        """As a tap on docker0 sees them, mapped back."""
        f = _frames(numbers, stage, 64).frames
        f[:, 30:34] = _frames(numbers, "syn", 64).frames[:, 26:30]
        udp = f[:, 23] == 17
        f[:, 24:26] = 0
        f[udp, 40:42] = 0
        f[~udp, 50:52] = 0
        _fill_checksums(f, udp, 50)
        return f

    later = np.concatenate([_frames(rng.integers(0, flows, 4000), "ack", 64).frames, answers("data", rng.integers(0, flows, 4000))])
    rng.shuffle(later)
    later[::50, 12] = 0x86                                  # not IPv4
    later[7::50, 30:34] = (172, 17, 0, 9)                   # stays on the network
    frames = np.concatenate([_frames(every, "syn", 64).frames, answers("synack", every), _frames(every, "ack", 64).frames, later])
    times = 1_700_000_000_000_000_000 + np.arange(len(frames)) * 1001
    (tmp_path / "in.pcap").write_bytes(pcap([(int(t), f.tobytes(), 0) for t, f in zip(times, frames, strict=True)], "<", True))
    path = data / "oracle" / "box.json"
    counts = translate(tmp_path / "in.pcap", tmp_path / "out.pcapng", path, "docker0", "eth0")

    box = load_box(path)
    nat = Netfilter(box["rules"], {name: spec.get("addresses", []) for name, spec in box["interfaces"].items()})
    wanted, returned = [], 0
    for t, frame in zip(times, frames, strict=True):
        now = (int(t) - int(times[0])) / 1e9
        if frame[12] != 8:
            continue
        if frame[26] != 172:
            returned += 1
            nat.observe_reply(bytearray(frame), "docker0", "eth0", now)
        elif frame[30] != 172:
            lengths = np.array([64], np.uint32)
            assert nat.forward(frame[None], lengths, "docker0", "eth0", now)[0] == ACCEPT
            wanted.append((int(t), frame[12:].tobytes()))
    out = (tmp_path / "out.pcapng").read_bytes()
    assert [(ns, out[at + 12:at + have]) for at, ns, have, _, _, _ in everything(out)[0]] == wanted
    assert (counts.frames, counts.translated, counts.returned, counts.dropped) == (len(frames), len(wanted), returned, 0)


@pytest.mark.parametrize(("cut", "passes"), [(96, True), (68, True), (60, True), (54, False)])
def test_frames_that_were_cut_are_translated_as_if_they_were_whole(data: Path, tmp_path: Path, cut: int, passes: bool) -> None:
    flows = np.arange(200)
    whole = [(i, f.tobytes()) for i, f in enumerate(np.concatenate([_frames(flows, stage, 200).frames for stage in ("syn", "ack", "ack")]))]
    cuts = [(i, frame[:cut], len(frame) - cut) for i, frame in whole]
    (tmp_path / "whole.pcap").write_bytes(pcap([(i, frame, 0) for i, frame in whole], "<", True))
    (tmp_path / "cut.pcap").write_bytes(pcap(cuts, ">", True))
    got = []
    for name in ("whole", "cut"):
        counts = translate(tmp_path / f"{name}.pcap", tmp_path / name, data / "oracle" / "box.json", "docker0", "eth0")
        assert counts.translated + counts.dropped == len(whole)
        got.append(list(read(tmp_path / name)))
    assert [p.length for p in got[0]] == [200] * len(whole)
    assert got[1] == [p._replace(frame=p.frame[:cut]) for p in got[0]] * passes


def test_writer_and_reader_agree(tmp_path: Path) -> None:
    with PcapngWriter(tmp_path / "a.pcapng") as w:
        numbers = [w.add_interface(f"n{i}") for i in range(300)]
        for n in numbers:
            w.write(n, 1.5 + n, bytes([n % 256]) * n)
    got = list(read(tmp_path / "a.pcapng"))
    assert [(p.time, p.interface, p.frame) for p in got] == [(1.5 + n, f"n{n}", bytes([n % 256]) * n) for n in numbers]
