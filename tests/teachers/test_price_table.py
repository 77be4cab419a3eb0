"""Prices from the table: by endpoint and model, never nothing for what is unknown, and the user's own first."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill_data.commands.options import Options
from distill_data.commands.roles import find_profiles
from distill_data.errors import UsageError
from distill_data.recipes import load_recipe
from distill_data.teachers.price_table import look_up_price
from distill_data.teachers.protocol import Profile

OPENAI, DEEPSEEK = "https://api.openai.com/v1", "https://api.deepseek.com/v1"


def profile(model: str, base_url: str) -> Profile:
    return Profile(model, f"openai/{model}", base_url)


def test_a_known_model_at_a_known_endpoint_has_a_price_that_says_where_from() -> None:
    price = look_up_price(profile("gpt-4o", OPENAI))
    assert price is not None and price.cached is not None
    assert 0 < price.cached < price.prompt < price.completion < 100
    assert price.source.startswith("genai-prices 0.")


def test_where_the_hour_decides_the_dearest_is_taken() -> None:
    from datetime import UTC, datetime

    from genai_prices import Usage, calc_price

    price = look_up_price(profile("deepseek-chat", DEEPSEEK))
    assert price is not None
    for hour in range(0, 24, 3):
        now = datetime.now(UTC).replace(hour=hour)
        at = calc_price(
            Usage(output_tokens=1000), "deepseek-chat", provider_api_url=DEEPSEEK, genai_request_timestamp=now
        )
        assert float(at.total_price) * 1000 <= price.completion


@pytest.mark.parametrize(
    ("model", "base_url"),
    [
        ("no-such-model", OPENAI),
        ("gpt-4o", "https://gateway.example/v1"),
        ("gpt-4o", "http://127.0.0.1:8000/v1"),
        ("sonar", "https://api.perplexity.ai"),  # takes a fee for each request beside the tokens
    ],
)
def test_what_the_table_does_not_tell_is_unknown(model: str, base_url: str) -> None:
    assert look_up_price(profile(model, base_url)) is None


def test_the_price_of_the_user_comes_first(tmp_path: Path) -> None:
    config = tmp_path / "distill.toml"
    config.write_text('[models.mine]\nmodel = "openai/gpt-4o"\nprice = { input = 7, output = 8 }\n')
    recipe = load_recipe("answer", "label")
    chosen = Options(teachers=("mine", "openai/gpt-4o-mini", "openai/no-such-model"), config=config, base_url=OPENAI)
    prices = [each.price for each in find_profiles(chosen, recipe).values()]
    assert prices[0] is not None and (prices[0].prompt, prices[0].source) == (7, "user")
    assert prices[1] is not None and prices[1].source.startswith("genai-prices")
    assert prices[2] is None
    capped = Options(teachers=("openai/no-such-model",), base_url=OPENAI, max_cost=1.0)
    with pytest.raises(UsageError, match="price of openai/no-such-model is unknown"):
        find_profiles(capped, recipe)
