"""What a check and a verifier are. Knows neither of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Mapping[str, Any], Mapping[str, Any]], str | None]
"""(parsed fields, seed row) -> None, or a short stable reason to reject. Raises UsageError where a name is missing."""

Verify = Callable[[str, str], bool]
"""(answer, gold) -> whether the answer is right."""
