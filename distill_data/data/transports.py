"""The packages that carry requests of `openai` and the Hub, kept quiet. Knows neither."""

from __future__ import annotations

import logging

CARRIERS = ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "huggingface_hub", "urllib3")


def hush_transports() -> None:
    """Keep them from logging requests: at debug level they write headers out, and what a server says back of a key.

    To be called once `openai` is imported: its import heeds $OPENAI_LOG.
    """
    for name in CARRIERS:
        logging.getLogger(name).setLevel(logging.WARNING)
