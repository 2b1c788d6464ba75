"""Real network namespaces in place of simulated ones: programs of this machine on a simulated network, in real time; root.

A container or a server becomes a namespace of this machine's kernel, of the same name, with the same interfaces, addresses,
MACs and routes; its end of each link is a TAP device. The host between them stays simulated.
"""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from simcore.docker.compose import apps
from simcore.docker.workloads import LoadWorkload, TraceWorkload, UdpWorkload, Workload
from simcore.engine.pace import Pace
from simcore.errors import ScenarioError
from simcore.net.interface import Interface
from simcore.net.link import Link, plug
from simcore.net.namespace import Namespace
from simcore.net.tuntap import TapPort, open_tap
from simcore.study import netns
from simcore.study.progress import StatusLine
from simcore.study.scenario import World, number

LINGER = 0.5
"""Seconds that the network goes on after a command has ended, for the last segments of its connections."""
GRACE = 2.0
"""Seconds that a command has to end by itself when the simulation has ended."""
COUNTED = (LoadWorkload, UdpWorkload, TraceWorkload)
"""Workloads whose results the receiver counts: it has to be a simulated one."""
IPV6 = Path("/proc/sys/net/ipv6")
HOSTS = Path("/etc/netns")
"""What `ip netns exec` puts over /etc: a directory for each namespace."""


def _as_ctrl_c(number: int, frame: object) -> None:
    signal.raise_signal(signal.SIGINT)


def _remove_if_empty(directory: Path) -> None:
    if directory.exists() and not list(directory.iterdir()):
        directory.rmdir()


def missing() -> str:
    """Why this machine cannot do it, empty if it can."""
    if reason := netns.missing("sysctl"):
        return reason
    try:
        os.close(open_tap(f"sc{os.getpid()}"))
    except OSError as error:
        return f"needs TAP devices: /dev/net/tun: {error.strerror}"
    return ""


class Emulation:
    """A world with some real machines in it; a context manager, within which they exist.

    Parameters
    ----------
    world : World
    names : sequence of str
        Services and servers; `NAME=PID` for one that shall be the network namespace of that process, as of a container that was
        started with `--network none`.

    Attributes
    ----------
    machines : list of Namespace
        Those that real ones take the place of.
    notes : list of str
        What of the scenario has no effect because of that.

    Raises
    ------
    ScenarioError
        If a name is none, or a workload wants from a real machine what its programs have to do; on entering, if this machine
        cannot do it.
    """

    def __init__(self, world: World, names: Sequence[str]) -> None:
        self.world = world
        self.pace = Pace(world.env)
        self.ports: list[TapPort] = []
        self.notes: list[str] = []
        self.machines: list[Namespace] = []
        self.processes: dict[str, int] = {}
        known = {*world.host.containers, *world.internet.servers}
        for wish in names:
            name, _, pid = wish.partition("=")
            if not known.issuperset(found := world.instances(name)):
                some = ", ".join(sorted(known | set(world.compose.services)))
                raise ScenarioError(f"--real {wish}: expected a service or a server, one of {some}")
            if "=" in wish:
                if not pid.isdecimal() or len(found) != 1:
                    raise ScenarioError(f"--real {wish}: expected NAME=PID with the number of a process, of one container")
                self.processes[found[0]] = int(pid)
            self.machines += [world.namespace(instance) for instance in found]
        self.machines = list(dict.fromkeys(self.machines))
        for i, workload in enumerate(world.compose.x.workloads):
            self._check(f"x-simcore.workloads.{i}", workload)
        serving = [*((f"services.{name}.x-simcore.http", name) for name, s in world.compose.services.items() if s.x.http),
                   *((f"x-simcore.servers.{name}.http", name) for name, s in world.compose.x.servers.items() if s.http)]
        for key, name, app in apps(world.compose):
            serving.append((key, name))
            for at, call in app.all_calls():
                if real := [to for to in call.served_by or [call.to] if self._is_real(to)]:
                    raise ScenarioError(f"{key}.calls.{at}: {real[0]} is real, and its programs would not understand")
        self.notes += [f"{key} has no effect: {name} is real, and its programs answer" for key, name in serving if self._is_real(name)]
        self._stack = ExitStack()

    def _is_real(self, name: str) -> bool:
        there = {ns.name for ns in self.machines}
        by_address = self.world.machine(name)
        return any(n in there for n in self.world.instances(name)) or by_address is not None and by_address.name in there

    def _check(self, key: str, w: Workload) -> None:
        if self._is_real(w.source):
            raise ScenarioError(f"{key}.from: {w.source} is real: expected a simulated one, as real programs send by themselves")
        if isinstance(w, COUNTED) and (real := [name for name in w.served_by or [w.to] if self._is_real(name)]):
            raise ScenarioError(f"{key}: {real[0]} is real, and {w.kind} is counted by whom it reaches: expected http, ping, dns or bulk")

    def __enter__(self) -> Emulation:
        if reason := missing():
            raise ScenarioError(f"emulate {reason}")
        with ExitStack() as stack:
            if threading.current_thread() is threading.main_thread():       # else the namespaces would be left behind
                stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, _as_ctrl_c))
            stack.enter_context(netns.namespaces((ns.name for ns in self.machines), self.processes))
            for ns in self.machines:
                self._make_real(ns, stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *rest: object) -> None:
        self._stack.close()

    def _make_real(self, ns: Namespace, stack: ExitStack) -> None:
        """Give the kernel's namespace of that name what the simulated one has."""
        netns.ip(ns.name, "link", "set", "lo", "up")
        for dev in ns.interfaces:
            if dev.name == "lo":
                continue
            made = f"sc{os.getpid()}-{len(self.ports)}"
            fd = open_tap(made)
            stack.callback(os.close, fd)
            netns.do("ip", "link", "set", made, "netns", ns.name, "name", dev.name, "address", dev.mac_address, "mtu", str(dev.mtu))
            if IPV6.exists():
                netns.sysctl(ns.name, f"net.ipv6.conf.{dev.name}.disable_ipv6", 1)
            for cidr in dev.addresses:
                netns.ip(ns.name, "address", "add", cidr, "broadcast", "+", "dev", dev.name)
            netns.ip(ns.name, "link", "set", dev.name, "up")
            self._plug_in(ns, dev, fd)
        for to, via, name in ns.route_table():
            netns.ip(ns.name, "route", "replace", to, *(("via", via) if via else ()), "dev", name)
        compose = self.world.compose
        machines = {name: machine.sysctls for name, machine in compose.services.items()}
        machines |= {name: machine.sysctls for name, machine in compose.x.servers.items()}
        for name, settings in machines.items():
            if ns.name in self.world.instances(name):
                for key, value in settings.items():
                    netns.sysctl(ns.name, key, number(value))
        self._write_hosts(ns, stack)

    def _plug_in(self, ns: Namespace, dev: Interface, fd: int) -> None:
        """Let the interface's wire end at the descriptor."""
        port = TapPort(self.world.env, dev, fd)
        for link in self.world.links.values():
            if link.sink is ns and link.sink_port == dev.port:
                link.reconnect(port, 0)
        there = ns.ports[dev.port]
        assert isinstance(there, Link)
        plug(port, 0, there)
        self.ports.append(port)
        self.pace.watch(fd, port.take)

    def _write_hosts(self, ns: Namespace, stack: ExitStack) -> None:
        """The names that Docker's resolver would know, in files that `ip netns exec` lays over those of /etc."""
        directory = HOSTS / ns.name
        if directory.exists():
            self.notes.append(f"{directory} is there already, so names are looked up as it says")
            return
        names = [*self.world.compose.services, *self.world.internet.servers]
        lines = ["127.0.0.1 localhost", *(f"{self.world.address_of(name, ns.name)} {name}" for name in names if self.world.instances(name))]
        if not HOSTS.exists():
            stack.callback(_remove_if_empty, HOSTS)
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        try:
            directory.mkdir(parents=True)
            (directory / "hosts").write_text("\n".join(lines) + "\n")
            (directory / "resolv.conf").write_text("# nobody is asked for other names\n")
        except OSError as error:
            self.notes.append(f"{error.filename}: {error.strerror}, so names are looked up as on this machine")

    def run(self, duration: float | None = None, command: Sequence[str] = (), progress: bool = False) -> int:
        """Run the world as fast as time passes: for `duration` seconds, the file's, until the command has ended, or until Ctrl-C.

        Returns
        -------
        int
            The command's exit status as a shell has it, 0 without one.

        Raises
        ------
        ScenarioError
            If there is no such command.
        """
        child: subprocess.Popen[bytes] | None = None
        limitless = not command and duration is None and self.world.compose.x.duration is None
        status = StatusLine()

        def drive(limit: float | None) -> None:
            self.pace.run(limit, (lambda: status.show(self._line)) if progress else lambda: None)
        if command:
            if shutil.which(command[0]) is None:
                raise ScenarioError(f"{command[0]}: there is no such command")
            child = subprocess.Popen(netns.inside(self.machines[0].name, *command))
            self._end_with(child)
        try:
            self.world.run(duration, drive=drive)
            if limitless:
                self.world.partial = False          # there is no other way to end it
        finally:
            status.clear()
            if child is not None and child.poll() is None:
                child.terminate()
                try:
                    child.wait(GRACE)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
        if child is None:
            return 0
        return child.returncode if child.returncode >= 0 else 128 - child.returncode

    def _end_with(self, child: subprocess.Popen[bytes]) -> None:
        fd = os.pidfd_open(child.pid)
        self._stack.callback(os.close, fd)

        def ended() -> None:
            self.pace.forget(fd)
            self.world.env.timeout(LINGER).callbacks.append(lambda event: self.pace.stop())
        self.pace.watch(fd, ended)

    def _line(self, wall: float) -> str:
        n = self.summary()
        return f"{self.world.env.now:.1f} s, {n['from_real']} frames from real machines, {n['to_real']} to them"

    def summary(self) -> dict[str, Any]:
        """How the real machines took part: frames, and seconds that the simulation was behind the clock."""
        devices = [dev for ns in self.machines for dev in ns.interfaces]
        return {"machines": [ns.name for ns in self.machines], "from_real": sum(dev.tx_packets for dev in devices),
                "to_real": sum(dev.rx_packets for dev in devices), "refused": sum(port.refused for port in self.ports),
                "behind_s": self.pace.behind.summary()}
