"""What the charts run as shipped has a version that is named."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from rendering import PLATFORM, STACK, Helm, named


def texts(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each text below a value, with its path."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from texts(one, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from texts(one, f"{path}[{number}]")
    elif isinstance(value, str):
        yield path, value


@pytest.mark.parametrize("chart", [PLATFORM, STACK], ids=lambda path: path.name)
def test_no_value_is_whatever_comes_last(chart: Path) -> None:
    values = yaml.safe_load((chart / "values.yaml").read_text())
    found = dict(texts(values))
    assert len(found) > 50
    assert [path for path, text in found.items() if text.rpartition(":")[2] == "latest"] == []


def test_the_bus_that_argo_events_runs_has_a_version(helm: Helm) -> None:
    bus = named(helm.template(PLATFORM, {"eventBus": {"kind": "native"}}), "EventBus", "default")
    assert bus["spec"]["jetstream"]["version"][0].isdigit()
