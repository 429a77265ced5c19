"""After a run: what each tier ran, and what it left out for want of what."""

from collections import Counter
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent


def tier(nodeid: str) -> str:
    """Return the tier of a test: the folder below tests/ in which it lies."""
    parts = nodeid.partition("::")[0].split("/")
    place = parts.index(_TESTS.name) if _TESTS.name in parts else 0
    return parts[place + 1] if len(parts) > place + 1 else "tests"


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
