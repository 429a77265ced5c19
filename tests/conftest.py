"""What holds for every tier: how properties are searched, and what a run says at its end."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from lanes import Lanes, turn
from xdist.scheduler import Scheduling

_TESTS = Path(__file__).parent

_BUILDING = ("apiserver", "contract", "charts")
"""Tiers whose fixtures may first have to build or install what they start, from nothing."""
_BUILD_SECONDS = 2400

# Neither a slow machine nor chance decides whether a change passes: no time limit for an example,
# and the same examples each time.  `pytest --hypothesis-profile anew` searches among others.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("anew", _PATIENT)
settings.register_profile("repeatable", _PATIENT, derandomize=True, database=None)
settings.load_profile("repeatable")


def tier(nodeid: str) -> str:
    """Return the tier of a test: the folder below tests/ in which it lies."""
    parts = nodeid.partition("::")[0].split("/")
    place = parts.index(_TESTS.name) if _TESTS.name in parts else 0
    return parts[place + 1] if len(parts) > place + 1 else "tests"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; give the first that builds something the time for it."""
    items.sort(key=lambda item: turn(item.nodeid))
    for item in items:
        if tier(item.nodeid) in _BUILDING and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_BUILD_SECONDS))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Share a run out by lanes (`pytest -n 2`)."""
    return Lanes(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a line a tier, and under it each reason for which tests of it were left out."""
    ran: Counter[str] = Counter()
    left_out: dict[str, Counter[str]] = {}
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            name = tier(report.nodeid)
            if outcome != "skipped":
                ran[name] += 1
            elif isinstance(report.longrepr, tuple):
                reason = str(report.longrepr[2]).removeprefix("Skipped: ")
                left_out.setdefault(name, Counter())[reason] += 1
    terminalreporter.section("tiers")
    for name in sorted(ran.keys() | left_out.keys()):
        reasons = left_out.get(name, Counter())
        terminalreporter.line(f"{name}: {ran[name]} run, {reasons.total()} left out")
        for reason, count in reasons.most_common():
            terminalreporter.line(f"  {count} want: {reason}")
