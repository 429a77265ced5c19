"""The shared listener on the bucket, against golden YAML, and what its expressions let pass."""

import re
from typing import Any
from urllib.parse import quote_plus

import pytest
from golden_files import assert_golden

from nexus_api.meta import Manifest
from nexus_operator.build.events import Watched, event_source, sensor
from nexus_operator.settings import Events, Owner, Settings

PLACED = [
    Watched("default", "manuals", "default/plant/manuals/"),
    Watched("team-b", "notes", "team-b/Notes & more/"),
]


def settings(source: Any, **events: Any) -> Settings:
    return Settings(
        on_kubernetes=True,
        events=Events(source=source, **events),
        owner=Owner(name="nexus-operator", uid="u-9"),
    )


def passes(made: Manifest, trigger: str, key: str) -> bool:
    """Whether a trigger's filters let a key pass, as Argo Events applies them."""
    (dependency,) = (one for one in made["spec"]["dependencies"] if one["name"] == trigger)
    for one in dependency["filters"]["data"]:
        if one["path"].endswith("object.key"):
            (expression,) = one["value"]
            if bool(re.search(expression, key)) == (one.get("comparator") == "!="):
                return False
    return True


def test_webhook() -> None:
    made = settings("webhook", auth_secret="nexus-bucket-events")
    assert_golden("events-source-webhook", event_source(made))
    assert_golden("events-sensor-webhook", sensor(made, PLACED))


def test_minio() -> None:
    assert_golden("events-source-minio", event_source(settings("minio")))
    assert_golden("events-sensor-minio", sensor(settings("minio"), []))


@pytest.mark.parametrize("escape", [str, quote_plus])
def test_objects_are_told_to_the_indexes_that_have_them(escape: Any) -> None:
    made = sensor(settings("webhook"), PLACED)
    usual, *own = (one["template"]["name"] for one in made["spec"]["triggers"])
    told = {
        key: [name for name in (usual, *own) if passes(made, name, escape(key))]
        for key in (
            "default/handbook/a b/page.pdf",
            "default/handbook/.folder",
            "default/plant/manuals/pump.pdf",
            "default/plant/other.pdf",
            "team-b/Notes & more/x.md",
            "team-b/Notes",
            "Upper/case/x.md",
            "toplevel.txt",
            "default/handbook/",
        )
    }
    assert told == {
        "default/handbook/a b/page.pdf": [usual],
        "default/handbook/.folder": [usual],
        "default/plant/manuals/pump.pdf": [own[0]],
        "default/plant/other.pdf": [usual],
        "team-b/Notes & more/x.md": [own[1]],
        "team-b/Notes": [],
        "Upper/case/x.md": [],
        "toplevel.txt": [],
        "default/handbook/": [],
    }


def test_listener_is_the_same_whatever_the_order_of_the_indexes() -> None:
    assert sensor(settings("webhook"), PLACED) == sensor(settings("webhook"), PLACED[::-1])
