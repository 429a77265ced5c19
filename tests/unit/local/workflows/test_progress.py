"""Progress that a step reports of itself, as Argo takes it."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_local.workflows import progress

from .conftest import Manifest, Platform, Script, dag, named, step


@pytest.mark.parametrize(
    "text", ["", "1", "2/1", "0/0", "-1/2", "1/2/3", "a/b", "1 / 2", "\u0661/\u0662"]
)
def test_what_is_no_progress_tells_nothing(text: str) -> None:
    assert progress.parse(text) is None


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 10**6))))
def test_progress_of_many_adds_up(parts: list[tuple[int, int]]) -> None:
    texts = [f"{min(done, total)}/{total}" for done, total in parts]
    done, total = progress.summed([*texts, "nonsense"]).split("/")
    assert int(done) == sum(min(one, all_) for one, all_ in parts)
    assert int(total) == sum(all_ for _, all_ in parts)


def test_the_last_line_counts_when_it_is_progress(tmp_path: Path) -> None:
    file = tmp_path / "progress"
    assert progress.read(file) is None
    file.write_text("1/100\n2/100\n")
    assert progress.read(file) == "2/100"
    file.write_text("1/100\n2/1")
    assert progress.read(file) is None
    file.write_text("x" * 100_000 + "\n7/9")
    assert progress.read(file) == "7/9"
    file.write_bytes(b"\xff\xfe/")
    assert progress.read(file) is None


async def test_a_step_finds_the_name_of_its_file_in_the_environment(platform: Platform) -> None:
    await platform.outcome(dag({"name": "a"}))
    container = platform.runner.pods["wf.a"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "ARGO_PROGRESS_FILE", "value": "/var/run/argo/progress"}]


async def test_progress_shows_while_the_step_runs_and_is_whole_at_its_end(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.01)
    release = asyncio.Event()
    told = {"/var/run/argo/progress": "3/20\n"}
    platform.runner.plays("a", Script(outputs=told, linger=release))
    platform.start()
    await platform.submit(dag({"name": "a"}, {"name": "b", "depends": "a"}))

    def shown() -> Manifest:
        return dict(platform.found().get("status") or {})

    await platform.cluster.until(lambda: shown().get("progress") == "3/20")
    assert named(shown(), "a")["progress"] == "3/20"
    release.set()
    status = await platform.end()
    assert named(status, "a")["progress"] == "20/20"
    assert status["progress"] == "21/21"


async def test_a_patch_from_a_parameter_may_not_change_what_a_pod_does(platform: Platform) -> None:
    patched = step(podSpecPatch="{{workflow.parameters.pod}}")
    spec = dag({"name": "a"}, templates=(patched,))
    refused, inert = '{"hostPID":true}', '{"runtimeClassName":"nvidia"}'
    wanted = {"{}": "Succeeded", inert: "Succeeded", refused: "Error"}
    for number, (patch, phase) in enumerate(wanted.items()):
        given_ = {"parameters": [{"name": "pod", "value": patch}]}
        status = await platform.outcome({**spec, "arguments": given_}, f"wf-{number}")
        assert status["phase"] == phase, status
