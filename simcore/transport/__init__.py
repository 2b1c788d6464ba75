"""TCP, UDP and ping with a sockets interface for SimPy processes."""
from simcore.transport.ping import PingSocket
from simcore.transport.tcp import TcpListener, TcpSocket
from simcore.transport.udp import UdpSocket

__all__ = ["PingSocket", "TcpListener", "TcpSocket", "UdpSocket"]
