"""What the monitor is told, and what it refuses."""

from datetime import timedelta
from pathlib import Path

import pytest

from nexus_monitor.errors import SettingsError
from nexus_monitor.settings import parse

NEEDED = {
    "NEXUS_LEDGER_URL": "sqlite:///ledger.db",
    "NEXUS_WORK_URL": "file:///work",
    "NEXUS_CONTROL_URL": "http://127.0.0.1:1/",
}


def test_defaults_are_the_decided_bands() -> None:
    settings = parse([], NEEDED)
    bands = settings.bands
    assert (bands.warn, bands.retrain, bands.stop) == (0.02, 0.05, 0.10)
    assert (settings.interval, settings.window) == (timedelta(minutes=15), timedelta(days=7))
    assert settings.control_url == "http://127.0.0.1:1"
    assert settings.support_least == 0.5
    assert not settings.once


def test_a_flag_wins_over_the_environment() -> None:
    env = {**NEEDED, "NEXUS_MONITOR_INTERVAL": "1h", "NEXUS_DRIFT_STOP": "0.3"}
    settings = parse(["--monitor-interval", "5s", "--once"], env)
    assert (settings.interval, settings.bands.stop) == (timedelta(seconds=5), 0.3)
    assert settings.once


def test_a_pod_finds_its_api() -> None:
    env = {
        **NEEDED,
        "NEXUS_CONTROL_URL": "",
        "KUBERNETES_SERVICE_HOST": "fd00::1",
        "KUBERNETES_SERVICE_PORT": "6443",
    }
    settings = parse([], env)
    assert settings.control_url == "https://[fd00::1]:6443"
    folder = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    assert (settings.control_token_file, settings.control_ca_file) == (
        folder / "token",
        folder / "ca.crt",
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("NEXUS_LEDGER_URL", ""),
        ("NEXUS_CONTROL_URL", ""),
        ("NEXUS_PORT", "http"),
        ("NEXUS_MONITOR_INTERVAL", "soon"),
        ("NEXUS_MONITOR_WINDOW", "0s"),
        ("NEXUS_DRIFT_WARN", "0.06"),
        ("NEXUS_DRIFT_STOP", "ten"),
        ("NEXUS_SUPPORT_LEAST", "half"),
        ("NEXUS_SUPPORT_LEAST", "1.1"),
        ("NEXUS_SUPPORT_LEAST", "nan"),
    ],
)
def test_what_cannot_be_read_is_named(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        parse([], {**NEEDED, variable: value})
