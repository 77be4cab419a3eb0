"""The engine: durable `ask`, one retry layer, scheduling, and publishing. Knows no method, recipe or command."""
