"""How often Hypothesis tries: `HYPOTHESIS_PROFILE=soak` looks ten times as long as every run of the suites does."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("suite", max_examples=50)
settings.register_profile("soak", max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))
