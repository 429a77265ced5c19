"""The container beside vLLM against a scripted server."""

import json
import urllib.error
import urllib.request
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from nexus_api.adapter_loading import AdaptersToLoad, AdapterToLoad
from nexus_pipelines.load_adapters import server as routes
from nexus_pipelines.load_adapters.cli import fetcher, reader
from nexus_pipelines.load_adapters.core import GRACE_SECONDS, PATIENCE_SECONDS
from nexus_pipelines.load_adapters.loader import FETCH_SECONDS, Loader
from nexus_pipelines.load_adapters.report import answering
from nexus_pipelines.load_adapters.server import VllmServer

OLD, NEW = "polite@1", "polite@2"


class Pod:
    """A loader with a file, a store and a clock."""

    def __init__(self, vllm: Any) -> None:
        self.vllm, self.now = vllm, 0.0
        self.wanted: AdaptersToLoad | None = None
        self.missing: dict[str, str] = {}
        self.hanging: set[str] = set()
        self.fetched: list[str] = []
        self.loader = Loader(
            lambda: self.wanted, self._fetch, VllmServer(vllm.url), lambda: self.now
        )

    def want(self, *names: str, needed: tuple[str, ...] = ()) -> None:
        self.wanted = AdaptersToLoad(
            adapters=[
                AdapterToLoad(name=n, uri=f"s3://b/{n}/", folder=f"/f/{n}", needed=n in needed)
                for n in names
            ]
        )

    def look(self, times: int = 6, seconds: float = 1) -> None:
        for _ in range(times):
            self.loader.step()
            self.now += seconds

    def _fetch(self, adapter: AdapterToLoad) -> "Future[None]":
        done: Future[None] = Future()
        self.fetched.append(adapter.name)
        if adapter.name in self.hanging:
            return done
        if adapter.name in self.missing:
            done.set_exception(OSError(self.missing[adapter.name]))
        else:
            done.set_result(None)
        return done


@pytest.fixture
def pod(vllm: Any) -> Pod:
    return Pod(vllm)


def test_a_new_version_comes_beside_the_old_one_which_goes_later(pod: Pod) -> None:
    pod.want(OLD)
    pod.look()
    assert pod.vllm.loaded == {OLD: f"/f/{OLD}"}
    assert pod.loader.ready
    pod.want(NEW, OLD, needed=(OLD,))
    pod.look()
    assert set(pod.vllm.loaded) == {OLD, NEW}
    pod.want(NEW, needed=(NEW,))
    pod.look(seconds=GRACE_SECONDS / 10)
    assert set(pod.vllm.loaded) == {OLD, NEW}
    pod.look(seconds=GRACE_SECONDS / 2)
    assert set(pod.vllm.loaded) == {NEW}
    assert pod.loader.report().loaded == [NEW]
    assert pod.vllm.calls == [
        ("load_lora_adapter", OLD), ("load_lora_adapter", NEW), ("unload_lora_adapter", OLD),
    ]  # fmt: skip


def test_a_server_that_restarted_gets_them_again_before_the_pod_is_ready(pod: Pod) -> None:
    pod.want(OLD, NEW, needed=(OLD,))
    pod.look()
    assert pod.loader.ready
    pod.vllm.stop()
    pod.look(1)
    assert not pod.loader.ready
    assert pod.loader.report().loaded == []
    pod.vllm.start()
    ready_with = []
    for _ in range(4):
        pod.look(1)
        ready_with += [set(pod.vllm.loaded)] if pod.loader.ready else []
    assert ready_with
    assert all(one == {OLD, NEW} for one in ready_with)
    assert pod.fetched == [OLD, NEW], "the files are still there"


def test_a_version_that_vllm_refuses_is_told_and_what_answers_goes_on(pod: Pod) -> None:
    pod.want(OLD, needed=(OLD,))
    pod.look()
    pod.vllm.refuse[NEW] = "LoRA rank 64 is greater than max_lora_rank 16."
    pod.want(OLD, NEW, needed=(OLD,))
    pod.look(20)
    assert pod.loader.ready
    assert pod.loader.report().refused == {
        NEW: "vLLM does not load it: LoRA rank 64 is greater than max_lora_rank 16."
    }
    assert pod.vllm.calls.count(("load_lora_adapter", NEW)) == 4, "not each second"
    pod.vllm.refuse.clear()
    pod.look(60)
    assert pod.loader.report().refused == {}
    assert pod.loader.report().loaded == [OLD, NEW]


def test_a_version_counts_as_loaded_once_it_has_answered(pod: Pod) -> None:
    pod.want(OLD, needed=(OLD,))
    pod.look()
    pod.vllm.mute[NEW] = "EngineCore encountered an issue"
    pod.want(OLD, NEW, needed=(OLD,))
    pod.look(20)
    report = pod.loader.report()
    assert report.loaded == [OLD]
    assert report.refused == {
        NEW: "loaded, it does not answer: HTTP 500: EngineCore encountered an issue"
    }
    assert set(pod.vllm.loaded) == {OLD}, "nobody can ask for it"
    assert pod.loader.ready
    assert pod.vllm.asked.count(NEW) == 4, "not each second"
    assert pod.vllm.asked.count(OLD) == 1, "the one that answers is left alone"
    pod.vllm.mute.clear()
    pod.look(60)
    assert pod.loader.report().loaded == [OLD, NEW]
    assert pod.loader.report().refused == {}


def test_one_whose_question_was_cut_off_is_asked_again(pod: Pod) -> None:
    pod.want(NEW, needed=(NEW,))
    pod.vllm.deaf.add(NEW)
    pod.look()
    assert set(pod.vllm.loaded) == {NEW}
    assert pod.loader.report().loaded == []
    assert not pod.loader.ready
    pod.vllm.deaf.clear()
    pod.look(2)
    assert pod.loader.report().loaded == [NEW]
    assert pod.loader.ready


def test_one_that_cannot_answer_and_that_nobody_wants_any_more_goes_in_time(pod: Pod) -> None:
    pod.want(NEW)
    pod.vllm.deaf.add(NEW)
    pod.look()
    pod.want()
    pod.look(2)
    pod.now += GRACE_SECONDS
    pod.look(2)
    assert pod.vllm.loaded == {}


def test_a_version_that_cannot_be_fetched_is_told(pod: Pod) -> None:
    pod.missing[NEW] = "the adapter has the digest abc, and def was released"
    pod.want(NEW)
    pod.look()
    assert pod.loader.ready, "nobody asks for it yet"
    (words,) = pod.loader.report().refused.values()
    assert "the digest abc" in words
    pod.want(NEW, needed=(NEW,))
    pod.look()
    assert not pod.loader.ready


def test_one_that_it_has_already_is_fine(pod: Pod) -> None:
    VllmServer(pod.vllm.url).load(OLD, "/f")
    VllmServer(pod.vllm.url).load(OLD, "/f")
    VllmServer(pod.vllm.url).unload("nobody@1")


def test_a_restarted_container_finds_what_is_loaded(pod: Pod, vllm: Any) -> None:
    pod.want(OLD, needed=(OLD,))
    pod.look()
    again = Pod(vllm)
    again.want(OLD, needed=(OLD,))
    again.look(1)
    assert again.loader.ready
    assert again.fetched == []


def test_one_that_the_engine_has_put_aside_is_brought_back_to_be_forgotten(pod: Pod) -> None:
    pod.want(OLD)
    pod.look()
    pod.want()
    pod.vllm.aside.add(OLD)
    pod.look(1)
    pod.now += GRACE_SECONDS
    pod.look(2)
    assert pod.vllm.loaded == {}
    assert [verb for verb, _ in pod.vllm.calls[-3:]] == [
        "unload_lora_adapter", "load_lora_adapter", "unload_lora_adapter",
    ]  # fmt: skip


def test_a_server_that_cannot_forget_one_is_asked_again_seldom(pod: Pod) -> None:
    pod.want(OLD)
    pod.look()
    pod.want()
    pod.vllm.refuse[OLD] = "Failed to remove lora adapter 'polite@1' from the engine."
    pod.look(1)
    pod.now += GRACE_SECONDS
    pod.look(60)
    assert 9 < pod.vllm.calls.count(("unload_lora_adapter", OLD)) < 16, "twice each time"
    assert pod.loader.ready


def test_an_ill_server_is_not_ready_and_a_silent_one_keeps_its_word(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.want(OLD, needed=(OLD,))
    pod.look()
    monkeypatch.setattr(routes, "LIST_SECONDS", 1e-9)
    pod.look(2)
    assert pod.loader.ready, "busy, not gone"
    monkeypatch.undo()
    pod.vllm.ill = 500
    pod.look(1)
    assert not pod.loader.ready


def test_it_tells_over_http(pod: Pod) -> None:
    def ask(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    with answering(pod.loader, "127.0.0.1", 0) as port:
        assert ask("/ready")[0] == 503
        pod.want(OLD, needed=(OLD,))
        pod.look()
        assert ask("/ready")[0] == 200
        status, text = ask("/adapters")
        assert (status, json.loads(text)) == (200, {"told": [OLD], "loaded": [OLD], "refused": {}})
        assert ask("/v1/models")[0] == 404


def test_the_file_is_read_and_what_cannot_be_understood_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "adapters.json"
    read = reader(file)
    assert read() is None
    file.write_text('{"adapters": [{"name": "a@1", "uri": "s3://b/a/", "folder": "/f", "x": 1}]}')
    found = read()
    assert found is not None
    assert found.adapters[0].name == "a@1"
    file.write_text(AdaptersToLoad(adapters=found.adapters).text())
    assert read() == found
    file.write_text('{"adapters": [{"na')
    assert read() is None


def test_files_come_to_their_folder_and_the_digest_is_held(tmp_path: Path) -> None:
    source = tmp_path / "released"
    source.mkdir()
    (source / "adapter_config.json").write_text("{}")
    (source / "adapter_model.safetensors").write_bytes(bytes(8) + b"{}")
    served = tmp_path / "served"
    adapter = AdapterToLoad(name=OLD, uri=source.as_uri(), folder=str(served / "f"), digest="")
    fetch = fetcher(tmp_path / "cache", served / "base", 8)
    wrong = fetch(adapter.model_copy(update={"digest": "0" * 64}))
    assert "was released" in str(wrong.exception(60))
    for elsewhere in (tmp_path / "f", served / "g" / "f", served / ".." / "f"):
        wrong = fetch(adapter.model_copy(update={"folder": str(elsewhere)}))
        assert "no folder for adapters" in str(wrong.exception(60))
    assert not served.exists()
    assert not (tmp_path / "f").exists()


def test_an_adapter_of_another_base_is_not_loaded(tmp_path: Path) -> None:
    """VLLM itself fits a smaller one into a corner of the room that it has."""
    source, served = tmp_path / "released", tmp_path / "served"
    source.mkdir()
    base = served / "base"
    base.mkdir(parents=True)
    save_file({"layer.q_proj.weight": np.zeros((8, 8))}, base / "model.safetensors")
    pair = {"A": np.zeros((2, 4)), "B": np.zeros((4, 2))}
    tensors = {f"base_model.model.layer.q_proj.lora_{side}.weight": w for side, w in pair.items()}
    save_file(tensors, source / "adapter_model.safetensors")
    (source / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2}))
    adapter = AdapterToLoad(name=OLD, uri=source.as_uri(), folder=str(served / "f"))
    wrong = fetcher(tmp_path / "cache", base, 8)(adapter)
    assert "is it another base's?" in str(wrong.exception(60))
    assert "rank is 2" in str(fetcher(tmp_path / "cache", base, 1)(adapter).exception(60))
    assert not (served / "f").exists()


@pytest.mark.parametrize(
    "more", [{"rank_pattern": {"k_proj": 1}}, {"alpha_pattern": {"q_proj": 4}}, {"use_dora": True}]
)
def test_the_form_of_an_adapter_is_for_vllm_to_judge(
    tmp_path: Path, more: dict[str, object]
) -> None:
    """It applies patterns, which releases of Triton's backend leave out of account."""
    source, base = tmp_path / "released", tmp_path / "served" / "base"
    source.mkdir()
    base.mkdir(parents=True)
    sizes = {"q_proj": 2, "k_proj": 1}
    weights = {f"layer.{one}.weight": np.zeros((8, 8)) for one in sizes}
    save_file(weights, base / "model.safetensors")
    matrices = {"A": lambda rank: (rank, 8), "B": lambda rank: (8, rank)}
    tensors = {
        f"base_model.model.layer.{one}.lora_{side}.weight": np.zeros(shape(rank))
        for one, rank in sizes.items()
        for side, shape in matrices.items()
    }
    save_file(tensors, source / "adapter_model.safetensors")
    (source / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, **more}))
    folder = base.parent / "f"
    adapter = AdapterToLoad(name=OLD, uri=source.as_uri(), folder=str(folder))
    assert fetcher(tmp_path / "cache", base, 8)(adapter).exception(60) is None
    assert (folder / "adapter_model.safetensors").exists()


def test_a_fetch_that_hangs_keeps_no_pod_from_serving(pod: Pod) -> None:
    """Of a loader that was restarted, say, while its server has what requests ask for."""
    pod.vllm.loaded = {OLD: "/f"}
    pod.hanging = {NEW}
    pod.want(OLD, NEW, needed=(OLD,))
    pod.look(int(PATIENCE_SECONDS) - 1)
    assert not pod.loader.ready
    pod.look(3)
    assert pod.loader.ready


def test_what_is_needed_waits_for_no_fetch_that_nobody_wants_any_more(pod: Pod) -> None:
    pod.hanging = {NEW}
    pod.want(NEW)
    pod.look()
    assert pod.fetched == [NEW]
    pod.want(OLD, needed=(OLD,))
    pod.look()
    assert pod.fetched == [NEW, OLD]
    assert pod.loader.ready


def test_a_fetch_that_hangs_is_begun_anew_and_told(pod: Pod) -> None:
    pod.hanging = {NEW}
    pod.want(NEW)
    pod.look()
    pod.hanging = set()
    pod.look(seconds=FETCH_SECONDS / 2)
    assert pod.fetched == [NEW, NEW]
    assert set(pod.vllm.loaded) == {NEW}


def test_a_fetch_that_hangs_is_told(pod: Pod) -> None:
    pod.hanging = {NEW}
    pod.want(NEW)
    pod.look(2, seconds=FETCH_SECONDS)
    assert "within 1800 s" in pod.loader.report().refused[NEW]
