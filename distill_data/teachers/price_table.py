"""Prices that nobody had to type: those of the package genai-prices, by the endpoint's URL and the model's name.

The table is the one that came with the package; its updates over the network are never asked for.
"""

from __future__ import annotations

from datetime import UTC, datetime

from distill_data.data.addresses import is_loopback
from distill_data.teachers.endpoint import base_url_of
from distill_data.teachers.prices import Price
from distill_data.teachers.protocol import Profile

TOKENS = 1000
"""So few that no tier for long prompts is met."""


def look_up_price(profile: Profile) -> Price | None:
    """What a model costs at its endpoint, at the dearest hour of the day, since a run may reach into it.

    None without the package, for an endpoint or a model that the table lacks, and for one that takes a fee for each
    request too. Raises UsageError for a base URL that is none.
    """
    base_url = base_url_of(profile)
    if is_loopback(base_url):
        return None
    try:
        from genai_prices import Usage, __version__, calc_price
    except ImportError:
        return None
    midnight = datetime.now(UTC).replace(hour=0, minute=30)
    model = profile.model.partition("/")[2]

    def per_million(**tokens: int) -> float:
        each = [
            calc_price(
                Usage(**tokens), model, provider_api_url=base_url, genai_request_timestamp=midnight.replace(hour=hour)
            )
            for hour in range(24)
        ]
        return float(max(price.total_price for price in each)) * 1e6 / TOKENS

    try:
        prompt = per_million(input_tokens=TOKENS)
        completion = per_million(output_tokens=TOKENS)
        cached = per_million(input_tokens=TOKENS, cache_read_tokens=TOKENS)
        fee = per_million()
    except LookupError:
        return None
    return Price(prompt, completion, cached, f"genai-prices {__version__}") if prompt and not fee else None
