"""Record what the kernel does in every state of a protocol: `python tables.py OUT_DIR` (the rig up, as root).

A file is a .jsonl of `{"name", "port", "way": [[wire, hex], ...], "probe": [wire, hex], "out": [[wire, hex], ...], "entry", "age"}`:
`way` leads to the state, `out` is what `probe` made leave, `entry` is the connection's line of `conntrack -L` after it,
null if there is none, read `age` seconds later.
"""
import itertools, json, pathlib, sys, time
import kinds
from oracle import Box

TABLES = {"tcp": kinds.tcp_table, "sctp": kinds.sctp_table}


def entry_of(lines, port):
    return next((l for l in lines if f"sport={port} " in l or f"dport={port} " in l), None)


def record(box, table):
    """Rows of a table, one state and direction after another (a second at most each), with an empty conntrack table before each."""
    for _, items in itertools.groupby(table.items(), key=lambda item: item[0].split(" / ")[:2]):
        box.reset()
        rows, probed = [], []
        for name, (port, way, probe) in items:
            for wire, frame in way:
                box.wires[wire].send(frame)
                box.drain(0.001)
            box.wires[probe[0]].send(probe[1])
            out = box.drain(0.002)
            probed.append(time.monotonic())
            rows.append({"name": name, "port": port, "way": [[w, f.hex()] for w, f in way], "probe": [probe[0], probe[1].hex()],
                         "out": [[w, f.hex()] for w, f in out]})
        lines = box.conntrack()
        for row, at in zip(rows, probed):
            row["age"] = round(time.monotonic() - at, 3)
            row["entry"] = entry_of(lines, row["port"])
            yield row


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    box = Box()
    for name, table in TABLES.items():
        rows = list(record(box, table()))
        (out / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        print(name, len(rows))


if __name__ == "__main__":
    main()
