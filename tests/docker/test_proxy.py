"""docker-proxy: who it serves, whom it asks, and when it forgets."""
from __future__ import annotations

from typing import Any

import pytest

from simcore.docker.compose import Compose
from simcore.study.scenario import World
from simcore.transport import TcpListener, TcpSocket, UdpSocket


def world(events: list[dict[str, Any]], docker: int = 27) -> World:
    return World(Compose.model_validate({
        "services": {"old": {"ports": ["53:53/udp", "80:80"]}, "new": {}, "asker": {}},
        "x-simcore": {"events": events, "host": {"docker": docker}}}))


@pytest.mark.parametrize("docker", [27, 28])
def test_datagrams_come_back_from_the_address_that_was_asked_since_28(docker: int) -> None:
    w = world([], docker)
    env, old, asker = w.env, w.namespace("old"), w.namespace("asker")
    heard: list[tuple[str, int]] = []
    got: list[tuple[bytes, str, int] | str] = []

    def server() -> Any:
        yield env.timeout(10)               # before that nobody listens, and the proxy is told so
        sock = UdpSocket(old, 53)
        while True:
            data, address, port = yield sock.recvfrom()
            heard.append((address, port))
            sock.sendto(data.upper(), address, port)

    def client() -> Any:
        sock = UdpSocket(asker, 4000)
        for at, address in ((1, "192.168.1.100"), (11, "192.168.1.100"), (12, "172.17.0.1"), (13, "192.168.1.100"), (200, "192.168.1.100")):
            yield env.timeout(at - env.now)
            sock.sendto(b"q%d" % at, address, 53)
            answer = sock.recvfrom()
            yield answer | env.timeout(0.5)
            if not answer.triggered:
                got.append("nothing")
                sock.close()                # its question is still open
                sock = UdpSocket(asker, 4000)
            else:
                got.append(answer.value)

    env.process(server())
    env.process(client())
    env.run(until=400)
    asked = "192.168.1.100" if docker >= 28 else "172.17.0.1"
    assert got == ["nothing", (b"Q11", asked, 53), (b"Q12", "172.17.0.1", 53), (b"Q13", asked, 53), (b"Q200", asked, 53)]
    assert {address for address, _ in heard} == {"172.17.0.1"}
    ports = [port for _, port in heard]
    assert ports[0] == ports[2]                         # a socket for each sender, and since 28 for each address that he asks
    assert (ports[0] == ports[1]) == (docker < 28)
    assert ports[3] not in ports[:3]                    # forgotten meanwhile


def test_it_asks_whom_the_port_leads_to_now() -> None:
    w = world([{"at": 1, "move": {"port": 80, "to": "new"}}])
    env, asker = w.env, w.namespace("asker")
    answers = []

    def serve(name: str) -> Any:
        listener = TcpListener(w.namespace(name), 80)
        while True:
            sock = yield listener.accept()
            yield sock.send(name.encode())
            yield sock.close()

    def client() -> Any:
        for _ in range(2):
            sock = TcpSocket(asker)
            yield sock.connect("192.168.1.100", 80)
            answers.append((yield sock.recv()))
            yield sock.close()
            yield env.timeout(2)

    for name in ("old", "new"):
        env.process(serve(name))
    env.process(client())
    env.run(until=10)
    assert answers == [b"old", b"new"]
