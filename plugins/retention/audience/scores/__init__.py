"""Sums per customer, levels and tiers: worked out as of an instant, kept by date, explained.

What the others use: `refresh_scores`, `read_tiers`, `find_run`, `explain_scores`.
"""

from retention.audience.scores.explain import Explained, explain_scores
from retention.audience.scores.read import Run, Tier, find_run, read_tiers
from retention.audience.scores.refresh import Refreshed, refresh_scores

__all__ = ["Explained", "Refreshed", "Run", "Tier", "explain_scores", "find_run", "read_tiers", "refresh_scores"]
