"""The six formulas of the literature, each a plain coroutine over `ask`. Knows no teacher, engine, file or clock."""
