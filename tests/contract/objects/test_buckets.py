"""Buckets are made and told whom to notify, on a real MinIO, through the steps that do it."""

from collections.abc import Iterator
from xml.etree import ElementTree as ET

import pytest
from minio_server import MinioServer
from ports import free_port
from waiting import eventually

from nexus_knowledge.errors import BucketNotFound, StoreRefused, StoreUnavailable
from nexus_knowledge.objects.buckets import EVENTS, make_bucket, merge, notify
from nexus_pipelines import cli

ARN, OTHER = "arn:minio:sqs::NEXUS:webhook", "arn:minio:sqs::OTHER:webhook"
NS = "http://s3.amazonaws.com/doc/2006-03-01/"

NAMES = ("nexus", "nexus-work", "nexus-models")


@pytest.fixture(scope="module")
def notifier(tmp_path_factory: pytest.TempPathFactory, minio: MinioServer) -> Iterator[MinioServer]:
    """A MinIO that knows two webhooks; they are down, so it keeps notices in a folder."""
    del minio  # skips where there is none
    folder = tmp_path_factory.mktemp("notifier")
    targets: dict[str, str] = {}
    for name in ("NEXUS", "OTHER"):
        (folder / name).mkdir()
        targets[f"MINIO_NOTIFY_WEBHOOK_ENABLE_{name}"] = "on"
        targets[f"MINIO_NOTIFY_WEBHOOK_ENDPOINT_{name}"] = f"http://127.0.0.1:{free_port()}/"
        targets[f"MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_{name}"] = str(folder / name)
    server = MinioServer(folder, **targets)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def environment(notifier: MinioServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in notifier.environment_of_steps.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NEXUS_BUCKET_URL", "s3://nexus")
    monkeypatch.setenv("NEXUS_WORK_URL", "s3://nexus-work/shards")
    monkeypatch.setenv("NEXUS_MODELS_URL", "s3://nexus-models")


def rules(server: MinioServer, bucket: str) -> list[tuple[str | None, list[str], str | None]]:
    found = server.access.client().get_bucket_notification(bucket).queue_config_list
    return sorted(
        (rule.queue, rule.events, rule.prefix_filter_rule and rule.prefix_filter_rule.value)
        for rule in found
    )


@pytest.mark.usefixtures("environment")
def test_the_steps_may_be_repeated(
    notifier: MinioServer, capsys: pytest.CaptureFixture[str]
) -> None:
    client = notifier.access.client()
    for said in ("made", "was there"):
        assert cli.run(["make-buckets", "--bucket=mlflow"]) == 0
        lines = capsys.readouterr().err.splitlines()
        assert lines == [f"bucket {name}: {said}" for name in (*NAMES, "mlflow")]
    assert {one.name for one in client.list_buckets()} >= {*NAMES, "mlflow"}
    for said in ("notifies", "already notifies"):
        assert cli.run(["bucket-notify", f"--target-arn={ARN}"]) == 0
        assert capsys.readouterr().err == f"bucket nexus {said} {ARN}\n"
    assert rules(notifier, "nexus") == [(ARN, list(EVENTS), None)]


@pytest.mark.usefixtures("environment")
def test_what_is_wrong_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.run(["bucket-notify", "--bucket=nexus", "--target-arn=webhook"]) == 2
    assert cli.run(["bucket-notify", "--bucket=absent", f"--target-arn={ARN}"]) == 1
    assert "make-buckets" in capsys.readouterr().err
    monkeypatch.setenv("NEXUS_BUCKET_URL", "file:///documents")
    assert cli.run(["bucket-notify", f"--target-arn={ARN}"]) == 2
    assert "no bucket that could notify" in capsys.readouterr().err


def test_foreign_rules_stay_and_narrower_ones_of_ours_are_widened(notifier: MinioServer) -> None:
    client = notifier.access.client()
    make_bucket(client, "shared")
    written = f"""<NotificationConfiguration xmlns="{NS}">
      <QueueConfiguration><Id>theirs</Id><Queue>{OTHER}</Queue><Event>s3:ObjectAccessed:Get</Event>
        <Filter><S3Key><FilterRule><Name>prefix</Name><Value>a/</Value></FilterRule></S3Key></Filter>
      </QueueConfiguration>
      <QueueConfiguration><Queue>{ARN}</Queue><Event>s3:ObjectCreated:Put</Event>
      </QueueConfiguration></NotificationConfiguration>""".encode()
    client._execute("PUT", "shared", body=written, query_params={"notification": ""})
    theirs = (OTHER, ["s3:ObjectAccessed:Get"], "a/")
    assert notify(client, "shared", ARN)
    assert rules(notifier, "shared") == sorted([theirs, (ARN, list(EVENTS), None)])
    assert not notify(client, "shared", ARN)


def test_a_notice_is_kept_for_a_target_that_is_down(notifier: MinioServer) -> None:
    client = notifier.access.client()
    make_bucket(client, "noisy")
    notify(client, "noisy", ARN)
    queue = notifier.log.parent / "NEXUS"
    before = set(queue.rglob("*.*"))
    client.fput_object("noisy", "team/handbook/a.txt", __file__)
    # Written after the answer: MinIO notifies while nobody waits.
    eventually(lambda: set(queue.rglob("*.*")) - before, what="the notice")


def test_an_unknown_target_and_an_unknown_bucket_are_final(notifier: MinioServer) -> None:
    client = notifier.access.client()
    make_bucket(client, "quiet")
    with pytest.raises(StoreRefused, match="quiet"):
        notify(client, "quiet", "arn:minio:sqs::NOBODY:webhook")
    with pytest.raises(BucketNotFound):
        notify(client, "absent", ARN)


def test_elements_of_aws_and_of_the_future_survive_the_merge() -> None:
    read = f"""<?xml version="1.0"?><NotificationConfiguration xmlns="{NS}">
      <TopicConfiguration><Id>t</Id><Topic>arn:aws:sns:::x</Topic><Event>s3:TestEvent</Event>
        <Filter><S3Key><FilterRule><Name>Prefix</Name><Value>&lt;ü&gt;</Value></FilterRule></S3Key>
        </Filter></TopicConfiguration>
      <EventBridgeConfiguration/></NotificationConfiguration>""".encode()
    merged = merge(read, ARN, EVENTS)
    assert merged is not None
    assert merge(merged, ARN, EVENTS) is None
    before, after = (ET.canonicalize(one, strip_text=True) for one in (read, merged))
    inside = before.split(">", 1)[1].removesuffix("</NotificationConfiguration>")
    assert inside in after
    assert merge(b"", ARN, EVENTS)


def test_whoever_writes_at_the_same_moment_is_outlasted(
    notifier: MinioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = notifier.access.client()
    make_bucket(client, "busy")
    monkeypatch.setattr("nexus_knowledge.objects.buckets._write", lambda *_: None)
    with pytest.raises(StoreUnavailable, match="keeps changing"):
        notify(client, "busy", ARN)


def test_a_name_that_no_bucket_can_have_is_refused(notifier: MinioServer) -> None:
    for bad in ("no", "Upper_case", ""):
        with pytest.raises(StoreRefused):
            make_bucket(notifier.access.client(), bad)
