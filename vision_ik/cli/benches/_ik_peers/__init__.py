"""The solvers measured beside ours: the same chain, targets, starts and tolerance, one thread.

Each runs in a process of its own (`worker`, started by `runner`), because some take the process down with them.
"""

from __future__ import annotations

from vision_ik.cli.benches._ik_peers import closed_form, iterative, restarted
from vision_ik.cli.benches._ik_peers.peer import Peer as Peer

PEERS: dict[str, Peer] = {peer.key: peer for peer in (*closed_form.PEERS, *iterative.PEERS, *restarted.PEERS)}
"""By key, closed forms first."""
