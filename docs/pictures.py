"""Take the README's pictures: the network at a glance from the demo's report, in light and in dark.

    make examine && .venv/bin/python docs/pictures.py

Needs Chromium (Debian's package ``chromium``).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


def main() -> None:
    """Open report.html and take both pictures."""
    report, chromium = ROOT / "report.html", shutil.which("chromium")
    if not report.exists() or chromium is None:
        sys.exit("Run `make examine` first, and install Debian's package chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for scheme in ("light", "dark"):
            page = browser.new_page(
                viewport={"width": 1000, "height": 880}, device_scale_factor=1.5, color_scheme=scheme
            )
            page.goto(report.as_uri())
            page.locator("#glance").screenshot(path=ROOT / "docs" / "images" / f"glance-{scheme}.png")
        browser.close()


if __name__ == "__main__":
    main()
