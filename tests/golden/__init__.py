"""What each recipe asks and what it makes of the answers, written down: seed rows, scripted replies, and the outcome.

In each `COMMAND/RECIPE/`: `seeds.jsonl` and `replies.json` (by hand; for each row a list with a reply for each sample,
where a list stands for one sample's attempts), and `prompts.json`, `records.jsonl` and `rejects.jsonl` (by
`python -m tests.golden`, to be read before they are committed).
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from distill_data.data.items import make_item_id
from distill_data.data.seeds import make_items, open_seeds, read_rows
from distill_data.engine.publish import encode_outcome
from distill_data.engine.schedule import settle
from distill_data.methods.labeling import make_labeling
from distill_data.recipes import load_recipe
from tests.methods.scripted import Scripted
