"""Words for people: how a run goes, how it ended, and foreign text made safe to show.

Knows neither commands nor the engine, and prints nothing by itself but progress.
"""

from distill_data.reporting.messages import message_lines
from distill_data.reporting.plain import plain
from distill_data.reporting.progress import Progress, make_progress
from distill_data.reporting.summary import RunSummary, closing_lines

__all__ = ["Progress", "RunSummary", "closing_lines", "make_progress", "message_lines", "plain"]
