"""The benchmarks, in the order of the table; importing one registers it."""

from __future__ import annotations

from . import calls

__all__ = ["calls"]
