"""The step as a Workflow runs it: outcome, repetition, kills, and every way in which it fails."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from training_world import StepWorld, in_child, rows
from waiting import eventually

from nexus_api.training_progress import TrainingProgress
from nexus_knowledge.objects import open_store
from nexus_pipelines.finetune.store import FineTuneStore
from nexus_pipelines.finetune.train.checkpoint import Checkpoints, Standing
from nexus_pipelines.finetune.train.loop import Training

STATE = "train/checkpoints/state.safetensors"
GOLDEN = "s3://golden/v1.jsonl"


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-5, atol=1e-6)


@pytest.fixture
def choosing(request: pytest.FixtureRequest, world: StepWorld) -> None:
    """Whether the run has a golden set of its own, and so may choose by what was held out."""
    world.golden = GOLDEN if request.param else ""


@pytest.fixture
def uninterrupted(world: StepWorld) -> tuple[dict[str, Any], dict[str, Any]]:
    """The adapter and the details of a run that nothing disturbed; its objects are gone again."""
    assert world.train() == 0
    found = world.adapter(), world.details()
    shutil.rmtree(world.run / "train")
    return found


def test_the_step_writes_an_adapter_and_says_how_it_went(
    world: StepWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARGO_PROGRESS_FILE", str(world.root / "progress"))
    assert world.train() == 0
    outcome, details = world.outcome(), world.details()
    assert outcome["steps"] == 12
    assert outcome["stopped"] == "epochs"
    assert outcome["tokensPerSecond"] > 0
    assert outcome["heldoutLoss"] < details["heldoutLosses"][0]["loss"]
    assert outcome["loss"] == details["losses"][-1]
    assert len(details["losses"]) == 12
    assert len(details["base"]["digest"]) == 64
    assert details["libraries"]["torch"] == torch.__version__
    assert (world.root / "progress").read_text() == "12/12"
    said = TrainingProgress.last_of(capsys.readouterr().err.splitlines())
    assert said is not None
    assert (said.done, said.total) == (12, 12)
    assert len(world.adapter()) == 28
    config = json.loads((world.run / "train/adapter/adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["bias"]) == (4, 8, "none")
    assert config["base_model_name_or_path"] == world.base
    assert not (world.run / STATE).exists()


def test_a_step_that_is_done_does_nothing(
    world: StepWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.train() == 0
    before = world.outcome()
    world.out.unlink()
    monkeypatch.setattr(Training, "run", lambda *_: pytest.fail("it trains again"))
    assert world.train() == 0
    assert world.outcome() == before


def test_the_same_seed_trains_the_same_adapter_and_another_does_not(
    world: StepWorld, uninterrupted: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    assert world.train() == 0
    same(world.adapter(), uninterrupted[0])
    assert world.details()["losses"] == pytest.approx(uninterrupted[1]["losses"], rel=1e-6)
    shutil.rmtree(world.run / "train")
    world.lora["seed"] = 1
    assert world.train() == 0
    assert world.details()["losses"] != pytest.approx(uninterrupted[1]["losses"], rel=1e-3)


@pytest.mark.usefixtures("choosing")
@pytest.mark.parametrize(
    ("choosing", "step"), [(False, 1), (True, 5), (False, 11)], indirect=["choosing"]
)
def test_a_killed_run_goes_on_to_the_same_adapter(
    world: StepWorld, uninterrupted: tuple[dict[str, Any], dict[str, Any]], step: int
) -> None:
    """Killed by SIGKILL in the middle of a step, after some steps were kept."""
    take = Training._take

    def killed(self: Training, planned: Any) -> float:
        if planned.number == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return take(self, planned)

    def do() -> int:
        Training._take = killed  # type: ignore[method-assign]
        return world.train(minutes=0)

    assert in_child(do) == -signal.SIGKILL
    assert (world.run / STATE).exists()
    assert not world.ended
    seen: list[int] = []

    def counted(self: Training, planned: Any) -> float:
        seen.append(planned.number)
        return take(self, planned)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Training, "_take", counted)
        assert world.train() == 0
    assert seen == list(range(step, 12))
    same(world.adapter(), uninterrupted[0])
    assert world.details()["losses"] == pytest.approx(uninterrupted[1]["losses"], rel=1e-6)
    assert world.details()["keptStep"] == uninterrupted[1]["keptStep"]


@pytest.mark.timeout(900)
def test_a_killed_process_goes_on(
    world: StepWorld, uninterrupted: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    """The command itself, killed from outside as soon as its first checkpoint is there."""
    command = [str(Path(sys.executable).with_name("nexus-pipelines")), *world.arguments(minutes=0)]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        # On a busy machine it may be done before anyone looks; then there is nothing to kill.
        eventually(
            lambda: (world.run / STATE).exists() or child.poll() is not None,
            what="a checkpoint",
            seconds=600,
            pause=0.01,
        )
    finally:
        child.kill()
        code = child.wait()
    assert code in (-signal.SIGKILL, 0)
    assert world.train() == 0
    same(world.adapter(), uninterrupted[0])


def test_a_step_that_is_asked_to_end_keeps_what_it_has(
    world: StepWorld,
    uninterrupted: tuple[dict[str, Any], dict[str, Any]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    take = Training._take

    def evicted(self: Training, planned: Any) -> float:
        if planned.number == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return take(self, planned)

    def do() -> int:
        Training._take = evicted  # type: ignore[method-assign]
        return world.train()

    assert in_child(do) == 75
    assert "asked to end after step 4 of 12" in capfd.readouterr().err
    assert world.train() == 0
    assert "going on after step 4 of 12" in capfd.readouterr().err
    same(world.adapter(), uninterrupted[0])


def test_a_checkpoint_of_other_data_or_a_broken_one_is_not_taken(
    world: StepWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    take = Training._take

    def stopped(self: Training, planned: Any) -> float:
        if planned.number == 2:
            raise KeyboardInterrupt
        return take(self, planned)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Training, "_take", stopped)
        with pytest.raises(KeyboardInterrupt):
            world.train(minutes=0)
    world.lora["learningRate"] = "2e-2"
    world.lora["epochs"] = 1
    assert world.train() == 0
    assert "going on" not in capsys.readouterr().err
    (world.run / "train/checkpoints").mkdir(exist_ok=True)
    (world.run / STATE).write_bytes(b"no tensors")
    (world.run / "train/done.json").unlink()
    assert world.train() == 0


def test_a_checkpoint_holds_the_losses_of_any_number_of_steps(tmp_path: Path) -> None:
    """The header of safetensors has an end: with the losses in it, a long training ended there."""
    store = FineTuneStore(open_store(tmp_path.as_uri()), "team", "support", "r1")
    checkpoints = Checkpoints(store, "inputs")
    losses = torch.linspace(3, 1, 500_000, dtype=torch.float64).tolist()
    standing = Standing(steps=500_000, losses=losses, heldout=[(0, 3.5)])
    checkpoints.save(standing, {"weights": torch.ones(3)})
    with store.open("train/checkpoints/state.safetensors") as stream:
        assert int.from_bytes(stream.read(8), "little") < 10_000
    found = checkpoints.load()
    assert found is not None
    assert found[0] == standing
    assert {name: one.tolist() for name, one in found[1].items()} == {"weights": [1.0] * 3}


def failed(world: StepWorld, capsys: pytest.CaptureFixture[str], *words: str) -> None:
    assert world.train() == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("nexus-pipelines finetune-train: ")
    for word in words:
        assert word in said
    assert not world.ended
    assert not world.out.exists()


def test_nothing_to_learn_is_said(world: StepWorld, capsys: pytest.CaptureFixture[str]) -> None:
    world.select([], [])
    failed(world, capsys, "no training example is left")
    world.select(rows(4), [])
    world.lora["sequenceTokens"] = 64
    long = rows(1)
    long[0]["messages"][0]["content"] = "pump " * 200
    world.select(long, [])
    failed(world, capsys, "tooLong", "64 tokens")


def test_without_held_out_examples_the_last_adapter_is_kept(world: StepWorld) -> None:
    world.select(rows(8), [])
    assert world.train() == 0
    assert world.outcome()["heldoutLoss"] is None
    assert world.details()["heldoutLosses"] == []
    assert float(max(t.abs().max() for t in world.adapter().values())) > 0


@pytest.mark.parametrize("golden", ["", GOLDEN])
def test_examples_that_the_gate_decides_on_choose_no_adapter(
    world: StepWorld, monkeypatch: pytest.MonkeyPatch, golden: str
) -> None:
    losses = iter([9.0, 1.0, 2.0, 3.0, 4.0])
    monkeypatch.setattr(Training, "heldout_loss", lambda _: next(losses))
    world.golden = golden
    assert world.train() == 0
    kept = (world.details()["keptStep"], world.outcome()["heldoutLoss"], world.outcome()["steps"])
    assert kept == ((3, 1.0, 12) if golden else (12, 4.0, 12))
    assert world.details()["heldoutLosses"][-1] == {"steps": 12, "loss": 4.0}


def test_a_missing_base_is_said(world: StepWorld, capsys: pytest.CaptureFixture[str]) -> None:
    world.base = "file:///nowhere/at/all"
    failed(world, capsys, "file:///nowhere/at/all", "no such file")


@pytest.mark.parametrize("by_environment", [True, False])
def test_gpus_that_torch_cannot_see_end_the_step_before_anything_is_fetched(
    world: StepWorld, by_environment: bool
) -> None:
    """The command itself: a training that was given a GPU never goes on without one, unseen."""
    world.base = "file:///nowhere/at/all"
    told = [] if by_environment else ["--gpus", "1"]
    command = [str(Path(sys.executable).with_name("nexus-pipelines")), *world.arguments(), *told]
    env = os.environ | ({"NEXUS_GPUS": "1"} if by_environment else {})
    done = subprocess.run(command, env=env, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1, done.stderr
    (said,) = done.stderr.splitlines()
    assert said.startswith("nexus-pipelines finetune-train: ")
    for words in ("holds 1 GPU", "torch sees none", "spec.lora.profile"):
        assert words in said
    assert not (world.run / "train").exists()
    assert not (world.root / "cache").exists()


def test_a_step_that_is_done_asks_for_no_gpu(
    world: StepWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.select(rows(4), [])
    assert world.train() == 0
    monkeypatch.setenv("NEXUS_GPUS", "1")
    assert world.train() == 0


def test_a_base_that_could_not_be_measured_is_not_trained(
    world: StepWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Training, "run", lambda *_: pytest.fail("it trains"))
    for engine in ("", "llamacpp"):
        world.engine = engine
        failed(world, capsys, world.base, "no single GGUF file", "spec.promotion.servingModelRef")


def test_a_base_whose_bytes_changed_is_refused(
    world: StepWorld,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from nexus_models.sources import package

    sources = [tiny, world.root / "changed"]
    shutil.copytree(tiny, sources[1])
    weights = sources[1] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")

    def obtain(_name: str, into: Path) -> Path:
        return Path(shutil.copytree(sources.pop(0), into / "model"))

    monkeypatch.setattr(package, "obtain", obtain)
    world.base = "pkg://some-model"
    world.select([], [])
    failed(world, capsys, "no training example is left")  # fetched once: its bytes are known now
    shutil.rmtree(world.root / "cache/entries")
    world.select(rows(8), [])
    failed(world, capsys, "pkg://some-model", "other bytes")


def test_pickled_weights_are_refused(
    world: StepWorld, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(tiny, world.root / "pickled"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    world.base = f"file://{folder}"
    failed(world, capsys, "safe format")


def test_code_of_a_repository_never_runs(
    world: StepWorld, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(tiny, world.root / "coded"))
    mark = world.root / "it-ran"
    (folder / "modeling_own.py").write_text(f"open({str(mark)!r}, 'w')\nclass Own: ...\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {
        "AutoConfig": "modeling_own.Own", "AutoModelForCausalLM": "modeling_own.Own",
    }}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    world.base = f"file://{folder}"
    failed(world, capsys, "cannot be opened")
    assert not mark.exists()


def test_a_base_without_a_chat_template_is_refused(
    world: StepWorld, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(tiny, world.root / "plain"))
    (folder / "chat_template.jinja").unlink()
    world.base = f"file://{folder}"
    failed(world, capsys, "no chat template", "instruction-tuned")


def test_a_base_with_other_layers_is_refused(
    world: StepWorld, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = Path(shutil.copytree(tiny, world.root / "gpt2"))
    config = GPT2Config(vocab_size=448, n_embd=32, n_layer=1, n_head=2, n_positions=128)
    GPT2LMHeadModel(config).save_pretrained(folder)
    world.base = f"file://{folder}"
    failed(world, capsys, "GPT2LMHeadModel", "q_proj", "LLaMA")


def test_a_loss_that_is_no_number_stops_the_run(
    world: StepWorld, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(tiny, world.root / "nan"))
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.mlp.down_proj.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    world.base = f"file://{folder}"
    failed(world, capsys, "not a finite number at step 1 of 12", "learningRate", "row-")


def test_a_full_disk_is_said_and_leaves_no_half_adapter(
    world: StepWorld, capfd: pytest.CaptureFixture[str]
) -> None:
    def do() -> int:
        # Larger than the small objects, smaller than a checkpoint.
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, 16_384))
        return world.train(minutes=0)

    assert in_child(do) == 1
    assert "the disk is full" in capfd.readouterr().err.splitlines()[-1]
    assert not world.ended
    assert not (world.run / STATE).exists()
    assert world.train() == 0
    assert len(world.adapter()) == 28


def test_an_adapter_that_finds_no_room_is_not_seen_in_part(
    world: StepWorld, capfd: pytest.CaptureFixture[str]
) -> None:
    def do() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, 16_384))
        return world.train()

    assert in_child(do) == 1
    assert "the disk is full" in capfd.readouterr().err.splitlines()[-1]
    assert not world.ended


@pytest.mark.filterwarnings("ignore:mkldnn_matmul failed:UserWarning")
@pytest.mark.parametrize("spare", [2, 12])
def test_memory_that_runs_out_is_said(
    world: StepWorld, capfd: pytest.CaptureFixture[str], spare: int
) -> None:
    """MiB to spare: with few the products' code finds no room, with more their results."""
    world.lora |= {"sequenceTokens": 2048, "batchSize": 64, "epochs": 1}
    long = rows(32)
    for row in long:
        row["messages"][1]["content"] = "pump valve seal " * 600
    world.select(long, [])
    begin = Training._begin

    def tight(self: Training, progress: Any) -> Any:
        found = begin(self, progress)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + (spare << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        return found

    def do() -> int:
        Training._begin = tight  # type: ignore[method-assign]
        return world.train()

    assert in_child(do) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert "out of memory" in said
    assert "spec.lora.profile" in said
    assert not world.ended


def test_a_run_without_a_selection_says_which_step_is_missing(
    world: StepWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(world.run / "select")
    failed(world, capsys, "select/selection.json", "'select'")
