"""The lines about rows that were alike: how many clusters, and the largest. Knows no command; it reads the result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill_data.reporting.plain import plain

SHOWN = 3


def cluster_lines(result: Mapping[str, Any]) -> list[str]:
    """Plain text for a terminal, a line each; nothing where no two rows were alike."""
    clusters = result["clusters"]
    if not clusters["number"]:
        return []
    largest = [
        f"  {cluster['rows']:,} rows like line {cluster['kept']['line']}"
        + (f", {plain(cluster['kept']['id'], one_line=True)}" if "id" in cluster["kept"] else "")
        for cluster in clusters["largest"][:SHOWN]
    ]
    return [f"{clusters['number']:,} clusters of rows that are alike; the largest:", *largest]
