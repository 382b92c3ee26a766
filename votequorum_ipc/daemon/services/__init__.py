"""The services of a node of a simulated cluster, one module each; `SERVICES` is the list of them."""

from __future__ import annotations

from .cfg import CfgService
from .cmap import CmapService
from .node import ModelService, NodeService, NodeView
from .quorum import QuorumService
from .votequorum import VotequorumService

SERVICES: tuple[type[NodeService], ...] = (VotequorumService, QuorumService, CmapService, CfgService)
"""What every node offers."""

__all__ = ["SERVICES", "ModelService", "NodeService", "NodeView"]
