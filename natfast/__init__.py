"""Netfilter in user space: connection tracking, NAT, filter rules, incremental checksums.

>>> import natfast
>>> nat = natfast.Netfilter(interfaces={"docker0": ["172.17.0.1/16"], "eth0": ["192.168.1.100/24"]})
>>> len(nat)
0
"""
from natfast.errors import BoxError, CaptureError, NatfastError, RulesError
from natfast.hooks import ACCEPT, DROP, REJECT, STOLEN, Netfilter, Skb
from natfast.rules import Rules
from natfast.shards import Shards

__all__ = ["ACCEPT", "DROP", "REJECT", "STOLEN", "BoxError", "CaptureError", "NatfastError", "Netfilter", "Rules",
           "RulesError", "Shards", "Skb"]
__version__ = "0.1.0"
