"""What holds for all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# A slow moment of the machine is no failure. What CI runs today it runs tomorrow; elsewhere new examples are tried.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI", "").lower() == "true" else "local")
