"""What axe-core, the checker of accessibility, finds in a page."""

from __future__ import annotations

from importlib import resources
from itertools import product

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 380, "height": 800}


def clean(page):
    """Assert that axe-core finds nothing in what the page shows now, light and dark, wide and narrow."""
    page.evaluate((resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    for scheme, size in product(("light", "dark"), (WIDE, NARROW)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(size)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert found["passes"], "axe looked at nothing"
        told = [
            (scheme, size["width"], fault["impact"], fault["id"], [node["html"][:120] for node in fault["nodes"]])
            for fault in found["violations"]
        ]
        assert told == [], told
