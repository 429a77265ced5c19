"""The shared listener on the bucket, against golden YAML, and what its expressions let pass."""

import json
import re
from random import Random
from typing import Any
from urllib.parse import quote_plus

import pytest
from golden_files import assert_golden
from hypothesis import example, given
from hypothesis import strategies as st
from small_world import rag_index

from nexus_api.meta import Manifest
from nexus_api.ragindex import RagIndex
from nexus_operator.build.events import Watched, event_source, sensor
from nexus_operator.cluster.protocol import WatchEvent
from nexus_operator.plan.model import Seen
from nexus_operator.plan.platform import plan_platform
from nexus_operator.reconcile.routes import PLATFORM, Routes
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


@pytest.mark.parametrize("prefix", ["default/", "default/handbook/", "default/handbook/pumps/"])
def test_indexes_that_share_documents_are_all_told(prefix: str) -> None:
    everything = rag_index("everything", source={"prefix": prefix})
    apart = rag_index("apart", source={"prefix": "default/apart-from-all/"})
    manifests = [rag_index(), everything, apart]
    indexes = [RagIndex.model_validate(one) for one in manifests]
    _, made = plan_platform(indexes, settings("webhook"), Seen()).apply
    own = {
        one["template"]["http"]["payload"][1]["src"].get("value"): one["template"]["name"]
        for one in made["spec"]["triggers"]
    }
    for trigger in ("usual", own["everything"]):
        assert passes(made, trigger, "default/handbook/pumps/a.pdf")
    assert passes(made, own["apart"], "default/apart-from-all/a.pdf")
    assert not passes(made, "usual", "default/apart-from-all/a.pdf"), "no index is named so"


def test_an_index_that_may_share_documents_is_the_listener_s_concern() -> None:
    routes = Routes()

    def concerns(manifest: Manifest, kind: str = "MODIFIED") -> bool:
        event = WatchEvent(kind, manifest)  # type: ignore[arg-type]
        return PLATFORM in list(routes.keys(event, "RagIndex"))

    first, second = rag_index("first"), rag_index("second")
    assert concerns(first)
    assert not concerns(second)
    assert concerns(rag_index("everything", source={"prefix": "default/"}))
    assert concerns(rag_index("third"))
    assert not concerns(rag_index("third"))
    assert concerns(second, "DELETED")


@given(
    prefixes=st.lists(st.text(st.characters(codec="utf-8"), max_size=480), max_size=40),
    seed=st.randoms(),
)
@example(prefixes=["&" * 100] * 40, seed=Random(1))
@example(prefixes=["é" * 50] * 40, seed=Random(1))
@example(prefixes=["a" * 100] * 40, seed=Random(1))
def test_listener_fits_its_pod_and_follows_from_the_indexes_alone(
    prefixes: list[str], seed: Any
) -> None:
    """The pod gets the whole Sensor as one environment variable, in base64."""
    indexes = []
    for number, text in enumerate(prefixes):
        manifest = rag_index(f"index-{number}")
        if text:
            manifest["spec"] = {"source": {"prefix": f"default/{text}/"}}
        indexes.append(RagIndex.model_validate(manifest))
    plan = plan_platform(indexes, settings("webhook"), Seen())
    assert len(plan.apply) == (2 if indexes else 0)
    for one in plan.apply:
        assert len(json.dumps(one)) * 4 / 3 < 128 * 1024
    seed.shuffle(indexes)
    assert plan_platform(indexes, settings("webhook"), Seen()) == plan


def test_listener_is_the_same_whatever_the_order_of_the_indexes() -> None:
    assert sensor(settings("webhook"), PLACED) == sensor(settings("webhook"), PLACED[::-1])
