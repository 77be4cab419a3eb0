"""The budget: what may be spent over the whole run, and what has been. Knows tokens and prices, not requests."""

from __future__ import annotations

from dataclasses import dataclass

from distill_data.errors import BudgetError
from distill_data.teachers.prices import add_costs


@dataclass(slots=True)
class Budget:
    """Reserve before sending, settle after. The sum of what is spent and reserved never passes a limit."""

    max_cost: float | None = None
    """USD."""
    max_tokens: int | None = None
    tokens: int = 0
    cost: float | None = 0.0
    """None where a price is unknown."""
    reserved_tokens: int = 0
    reserved_cost: float = 0.0

    def reserve(self, tokens: int, cost: float | None) -> None:
        """Set aside what a request may cost at most. Raises BudgetError where it might not be enough."""
        if self.max_tokens is not None and self.tokens + self.reserved_tokens + tokens > self.max_tokens:
            raise BudgetError(
                f"the next request may need {tokens} tokens and {self.tokens + self.reserved_tokens} of the "
                f"{self.max_tokens} that --max-tokens-total allows are spent. "
                "Raise the limit to go on."
            )
        if self.max_cost is not None and (self.cost or 0.0) + self.reserved_cost + (cost or 0.0) > self.max_cost:
            raise BudgetError(
                f"the next request may cost {cost or 0:.6f} USD and {(self.cost or 0) + self.reserved_cost:.6f} of the "
                f"{self.max_cost} USD that --max-cost allows are spent. "
                "Raise the limit to go on."
            )
        self.reserved_tokens += tokens
        self.reserved_cost += cost or 0.0

    def settle(self, reserved_tokens: int, reserved_cost: float | None, tokens: int, cost: float | None) -> None:
        """Replace a reserve by what was really used; nothing, for a request that was not billed."""
        self.reserved_tokens -= reserved_tokens
        self.reserved_cost -= reserved_cost or 0.0
        self.tokens += tokens
        self.cost = add_costs(self.cost, cost)
