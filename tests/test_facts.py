"""Every fact about the exchange that became known has a test that names it."""

from __future__ import annotations

import re
from pathlib import Path

from facts import FACTS


def test_every_fact_has_a_test() -> None:
    """And every mark is of a fact."""
    named = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        named.update(re.findall(r'^@fact\("(.+)"\)$', path.read_text("utf-8"), re.M))

    assert named == set(FACTS)
