"""Buckets as such: made when missing, and told whom to notify."""

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as ET

from minio import Minio
from minio.error import S3Error
from minio.helpers import md5sum_hash

from nexus_knowledge.errors import StoreUnavailable
from nexus_knowledge.objects.s3_errors import typed

EVENTS = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_RULES = ("QueueConfiguration", "TopicConfiguration", "CloudFunctionConfiguration")
_NONE = b"<NotificationConfiguration/>"
_TRIES = 5


def make_bucket(client: Minio, bucket: str) -> bool:
    """Make a bucket; False when it is there already and ours.

    Raises ``StoreRefused`` when it is somebody else's, ``StoreUnavailable``.
    """
    with typed("make the bucket", bucket):
        try:
            client.make_bucket(bucket)
        except S3Error as error:
            if error.code == "BucketAlreadyOwnedByYou":
                return False
            raise
    return True


def notify(client: Minio, bucket: str, arn: str, events: Sequence[str] = EVENTS) -> bool:
    """Have a bucket notify ``arn`` of ``events``; rules for others stay as they are.

    S3 takes the whole configuration only, so it is read, merged, written and read again: who
    wrote at the same moment may have undone it.  False when nothing had to be changed.
    Raises ``BucketNotFound``, ``StoreRefused`` (also for an ARN that the server does not know).
    """
    changed = False
    for _ in range(_TRIES):
        with typed("read the notification rules", bucket):
            merged = merge(_read(client, bucket), arn, events)
        if merged is None:
            return changed
        with typed(f"have {arn} notified", bucket):
            _write(client, bucket, merged)
        changed = True
    raise StoreUnavailable(f"somebody else keeps changing the notifications of bucket {bucket!r}")


def merge(configuration: bytes, arn: str, events: Sequence[str]) -> bytes | None:
    """Add our rule to a notification configuration; None when it is there.

    Every other element stays as it was read, whatever it is.
    """
    ET.register_namespace("", _NAMESPACE)
    root = ET.fromstring(configuration or _NONE)  # noqa: S314 - the answer of our own S3
    ours = [rule for rule in _rules(root) if _text(rule, "Queue") == [arn]]
    if any(set(_text(rule, "Event")) >= set(events) and not _filtered(rule) for rule in ours):
        return None
    merged = ET.Element(_tag("NotificationConfiguration"))
    merged.extend(child for child in root if child not in ours)
    rule = ET.SubElement(merged, _tag("QueueConfiguration"))
    ET.SubElement(rule, _tag("Id")).text = "llmops-nexus"
    ET.SubElement(rule, _tag("Queue")).text = arn
    for event in events:
        ET.SubElement(rule, _tag("Event")).text = event
    return ET.tostring(merged)


def _read(client: Minio, bucket: str) -> bytes:
    # The client's own method takes a filter named `Prefix`, as AWS writes it, for a suffix.
    answer = client._execute("GET", bucket, query_params={"notification": ""})  # noqa: SLF001
    return bytes(answer.data)


def _write(client: Minio, bucket: str, configuration: bytes) -> None:
    headers = {"Content-MD5": md5sum_hash(configuration) or ""}
    client._execute(  # noqa: SLF001 - see _read
        "PUT",
        bucket,
        body=configuration,
        headers=dict(headers),
        query_params={"notification": ""},
    )


def _rules(root: ET.Element) -> Iterable[ET.Element]:
    return (child for child in root if _local(child) in _RULES)


def _text(rule: ET.Element, name: str) -> list[str]:
    return [child.text or "" for child in rule if _local(child) == name]


def _filtered(rule: ET.Element) -> bool:
    return any(_local(one) == "FilterRule" for one in rule.iter())


def _local(element: ET.Element) -> str:
    return element.tag.rsplit("}", 1)[-1]


def _tag(name: str) -> str:
    return f"{{{_NAMESPACE}}}{name}"
