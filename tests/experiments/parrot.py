"""A script for the scripted teacher: it says what it was asked."""

from __future__ import annotations


def reply(model: str, text: str, sample: int) -> str:
    return f"{model} {text} {sample}"
