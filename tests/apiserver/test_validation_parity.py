"""Our admission answers as a real kube-apiserver does: same verdict, field, text, stored object."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from judge import agree, ours, theirs, url
from needs import in_ci
from testcluster.control_plane import ControlPlane

from nexus_api.kinds import KINDS, UnknownKind
from nexus_api.manifests import BadManifest, load_manifests
from nexus_api.meta import Manifest
from nexus_api.validation import admit

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(2400)]  # a cold build takes minutes

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "unit" / "api" / "corpus"
SAMPLES = ROOT / "manifests" / "samples"


def paths(folder: str) -> list[Path]:
    return sorted((CORPUS / folder).glob("*.yaml"))


def readable(path: Path) -> list[Manifest]:
    """Return the manifests of a file; none when it is the text that is wrong."""
    try:
        return load_manifests(path.read_text(encoding="utf-8"))
    except BadManifest:
        return []


ORIGINALS = [manifest for path in paths("good") for manifest in readable(path)]


@pytest.mark.parametrize("path", paths("good") + paths("bad"), ids=lambda path: path.stem)
def test_corpus_gets_the_same_verdict(api: ControlPlane, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    try:
        manifest = load_manifests(text)[-1]
        own = ours(manifest)
    except BadManifest as error:
        refused = theirs(api, "RagIndex", text)
        twice = "already set" in str(error)
        same_words = str(error) in refused.message
        assert (refused.code, same_words) == (400, twice)
        return
    except UnknownKind:
        # kubectl finds out by discovery, before it asks; so does this test.
        served = api.client.get(f"/apis/{manifest['apiVersion']}")
        resources = served.json()["resources"] if served.is_success else ()
        kinds = {one["kind"] for one in resources}
        assert manifest["kind"] not in kinds
        return
    assert not agree(theirs(api, manifest["kind"], text), own)


@pytest.mark.parametrize(
    "path", paths("updates/good") + paths("updates/bad"), ids=lambda path: path.stem
)
def test_update_gets_the_same_verdict(api: ControlPlane, path: Path) -> None:
    before, after = readable(path)
    kind = before["kind"]
    made = api.client.post(url(kind), json=before)
    assert made.status_code == 201, made.text
    try:
        stored = made.json()
        after["metadata"] = stored["metadata"]
        name = stored["metadata"]["name"]
        assert not agree(theirs(api, kind, after, old=name), ours(after, stored))
    finally:
        api.client.delete(f"{url(kind)}/{before['metadata']['name']}").raise_for_status()


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_sample_is_admitted(api: ControlPlane, path: Path) -> None:
    for manifest in readable(path):
        if manifest["kind"] in KINDS:
            server = theirs(api, manifest["kind"], manifest)
            assert server.code == 201
            assert not agree(server, ours(manifest))


TEXTS = st.one_of(
    st.sampled_from(
        [
            *(
                "",
                "a",
                "A b",
                "x" * 64,
                "x" * 600,
                "0",
                "0.5",
                "1.5",
                "5s",
                "1h30m",
                "999h",
                "64Mi",
            ),
            *("pkg://a", "hf://a/b@c/d.gguf", "s3://bucket/a", "models:/a@b", "file:///a/../b"),
            *(
                "dense",
                "tfidf",
                "Auto",
                "vllm",
                "Q8_0",
                "line\nbreak",
                "tab\t",
                "ü",
                "🙂",
                '"<&>\\',
            ),
            *("a/", "/a/", "a/../b/", "* * * * *", "-a", "a-"),
        ]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 2, 5, 15, 16, 63, 64, 65, 100, 101, 8192, 8193, 10**6 + 1, 2**53]),
    st.sampled_from([0.5, 1.0, 16.0, -2.5, 1e6, 1.5e7, 1e300]),
    TEXTS,
)
VALUES = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.dictionaries(st.sampled_from(["name", "uri", "a", "bucket"]), SCALARS, max_size=2),
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the paths of all values below one, containers included."""
    found = [path] if path else []
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, child in items:
            found += places(child, (*path, key))
    return found


@st.composite
def changed(draw: st.DrawFn, manifest: Manifest, part: str) -> Manifest:
    """A copy of an object with one field below `part` changed, removed or added."""
    copied = copy.deepcopy(manifest)
    path = draw(st.sampled_from([(part, *rest) for rest in places(copied[part])]))
    at: Any = copied
    for step in path[:-1]:
        at = at[step]
    sort = draw(st.sampled_from(["change", "change", "change", "remove", "add"]))
    if sort == "remove":
        del at[path[-1]]
    elif sort == "add" and isinstance(at, dict):
        name = draw(st.sampled_from(["unknown", "secretRef", "autoscaling", "triggers"]))
        at[name] = draw(VALUES)
    else:
        at[path[-1]] = draw(VALUES)
    return copied


VALID = [admit(manifest) for manifest in ORIGINALS]
hard = settings(
    max_examples=300,
    derandomize=in_ci(),  # a change is judged by what it changed alone
    database=None,  # what failed is told; a server that is started anew has no memory
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@hard
@given(data=st.data())
def test_any_single_change_gets_the_same_verdict(api: ControlPlane, data: st.DataObject) -> None:
    manifest = data.draw(changed(data.draw(st.sampled_from(VALID)), "spec"))
    differ = agree(theirs(api, manifest["kind"], manifest), ours(manifest))
    assert not differ, f"{json.dumps(manifest)}{differ}"


@pytest.fixture(scope="module")
def stored(api: ControlPlane) -> Iterator[list[Manifest]]:
    """The good objects, stored under names of their own, with a status."""
    made: list[Manifest] = []
    for number, original in enumerate(VALID):
        manifest = copy.deepcopy(original)
        manifest["metadata"] = {"name": f"stored-{number}"}
        created = api.client.post(url(manifest["kind"]), json=manifest)
        assert created.status_code == 201, created.text
        path = f"{url(manifest['kind'])}/stored-{number}"
        answer = api.client.put(f"{path}/status", json=created.json() | {"status": STATUS})
        assert answer.status_code == 200, answer.text
        made.append(answer.json())
    yield made
    for manifest in made:
        name = manifest["metadata"]["name"]
        api.client.delete(f"{url(manifest['kind'])}/{name}").raise_for_status()


STATUS = {
    "observedGeneration": 3,
    "conditions": [
        {
            "type": kind,
            "status": "True",
            "reason": "Fine",
            "message": "",
            "lastTransitionTime": "2026-01-31T12:00:00Z",
            "observedGeneration": 3,
        }
        for kind in ("Ready", "Synced")
    ],
}


@hard
@given(data=st.data())
def test_any_single_update_gets_the_same_verdict(
    api: ControlPlane, stored: list[Manifest], data: st.DataObject
) -> None:
    before = data.draw(st.sampled_from(stored))
    after = data.draw(changed(before, "spec"))
    server = theirs(api, after["kind"], after, old=before["metadata"]["name"])
    differ = agree(server, ours(after, before))
    assert not differ, f"{json.dumps(after)}{differ}"


STATUSES = changed({"status": STATUS}, "status")


@hard
@given(number=st.integers(0, len(VALID) - 1), status=STATUSES)
def test_any_single_status_write_gets_the_same_verdict(
    api: ControlPlane, stored: list[Manifest], number: int, status: Manifest
) -> None:
    before = stored[number]
    after = {**before, **copy.deepcopy(status)}
    server = theirs(api, after["kind"], after, old=f"{before['metadata']['name']}/status")
    differ = agree(server, ours(after, before, subresource="status"))
    assert not differ, f"{json.dumps(after)}{differ}"
