"""What only the store in S3 can show: pages, rights, certificates, outages, broken connections."""

import io
import random
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from minio.commonconfig import SnowballObject
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin
from minio_server import ACCESS_KEY, SECRET_KEY, MinioServer
from needs import lacking
from ports import free_port, listens

from nexus_api.s3 import S3Access, S3NotConfigured
from nexus_knowledge.errors import (
    BucketNotFound,
    ObjectChanged,
    ObjectUnreadable,
    StoreRefused,
    StoreUnavailable,
    UnsupportedUrl,
)
from nexus_knowledge.objects import open_store
from nexus_knowledge.objects.s3 import S3Store

_numbers = count(1)


@pytest.fixture
def bucket(minio: MinioServer) -> str:
    name = f"own-{next(_numbers)}"
    minio.access.client().make_bucket(name)
    return name


def store_of(access: S3Access, bucket: str) -> S3Store:
    return S3Store(access.client(), bucket)


def test_a_listing_goes_over_its_pages(minio: MinioServer, bucket: str) -> None:
    client = minio.access.client()
    wanted = {f"t/i/{n:05}.txt" for n in range(2300)}
    client.upload_snowball_objects(
        bucket, [SnowballObject(key, data=io.BytesIO(b"x"), length=1) for key in sorted(wanted)]
    )
    assert {one.key for one in store_of(minio.access, bucket).list("t/i/")} == wanted


def test_folders_of_consoles_and_keys_without_a_name_are_left_out(
    minio: MinioServer, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = minio.access.client()
    for key in ("t/i/", "t/i/a.txt", "t/empty/"):
        client.put_object(bucket, key, io.BytesIO(b""), 0)
    assert [one.key for one in store_of(minio.access, bucket).list("")] == ["t/i/a.txt"]
    assert caplog.text == ""


def test_times_agree_and_the_environment_is_read(
    minio: MinioServer, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in minio.environment_of_steps.items():
        monkeypatch.setenv(name, value)
    store = open_store(f"s3://{bucket}/a%20b/c")
    put = store.put("k", io.BytesIO(b"1"))
    assert put == store.stat("k") == next(store.list("k"))
    raw = next(minio.access.client().list_objects(bucket, recursive=True))
    assert raw.object_name == "a b/c/k"
    monkeypatch.delenv("NEXUS_S3_SECRET_KEY")
    with pytest.raises(UnsupportedUrl, match="NEXUS_S3_SECRET_KEY"):
        open_store(f"s3://{bucket}")


def test_access_is_checked_and_never_shown() -> None:
    good = {
        "NEXUS_S3_ENDPOINT": "https://s3.example.org",
        "NEXUS_S3_ACCESS_KEY": "a",
        "NEXUS_S3_SECRET_KEY": "hush",
    }
    assert "hush" not in repr(S3Access.from_environment(good))
    for bad in ("s3.example.org", "ftp://x", "http://x/path", "http://"):
        with pytest.raises(S3NotConfigured, match="NEXUS_S3_ENDPOINT"):
            S3Access.from_environment({**good, "NEXUS_S3_ENDPOINT": bad})
    with pytest.raises(S3NotConfigured, match="/no/such"):
        S3Access.from_environment({**good, "NEXUS_S3_CA_FILE": "/no/such"}).client()


class TestRights:
    def test_a_missing_bucket_is_not_an_empty_one(self, minio: MinioServer) -> None:
        store = store_of(minio.access, "nobody-made-it")
        with pytest.raises(BucketNotFound, match="make-buckets"):
            list(store.list(""))
        with pytest.raises(BucketNotFound):
            store.put("k", io.BytesIO(b""))
        with pytest.raises(BucketNotFound):
            store.open("k")

    def test_wrong_credentials_are_final(self, minio: MinioServer, bucket: str) -> None:
        for wrong in (
            replace(minio.access, access_key="nobody"),
            replace(minio.access, secret_key="another-secret"),
        ):
            store = store_of(wrong, bucket)
            for call in (lambda: list(store.list("")), lambda: store.stat("k")):  # noqa: B023
                with pytest.raises(StoreRefused) as caught:
                    call()
                assert not caught.value.transient
                assert "another-secret" not in str(caught.value)

    def test_one_closed_object_is_told_from_a_closed_bucket(
        self, minio: MinioServer, bucket: str
    ) -> None:
        admin = MinioAdmin(
            endpoint=minio.endpoint.removeprefix("http://"),
            credentials=StaticProvider(ACCESS_KEY, SECRET_KEY),
            secure=False,
        )
        allowed = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/open/*"]
        rights = [{"Effect": "Allow", "Action": ["s3:*"], "Resource": allowed}]
        admin.policy_add("half", policy={"Version": "2012-10-17", "Statement": rights})
        for user in ("half-user", "no-user"):
            admin.user_add(user, "a-long-secret")
        admin.policy_set("half", user="half-user")
        all_of_it = store_of(minio.access, bucket)
        for key in ("open/a", "closed/a"):
            all_of_it.put(key, io.BytesIO(b"x"))
        half = store_of(
            replace(minio.access, access_key="half-user", secret_key="a-long-secret"), bucket
        )
        assert half.open("open/a").read() == b"x"
        assert {one.key for one in half.list("")} == {"open/a", "closed/a"}
        for call in (lambda: half.open("closed/a"), lambda: half.stat("closed/a")):
            with pytest.raises(ObjectUnreadable):
                call()
        none = store_of(
            replace(minio.access, access_key="no-user", secret_key="a-long-secret"), bucket
        )
        with pytest.raises(StoreRefused):
            none.open("open/a")


def test_certificates_of_ones_own_are_trusted_when_named(
    tmp_path: Path, minio: MinioServer
) -> None:
    del minio  # skips where there is none
    if shutil.which("openssl") is None:
        lacking("openssl is not installed: apt-get install openssl")
    certificates = tmp_path / "certs"
    certificates.mkdir()
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=minio", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(certificates / "private.key")),
            *("-out", str(certificates / "public.crt")),
        ],
        check=True,
        capture_output=True,
    )
    server = MinioServer(tmp_path / "minio")
    server.command += ["--certs-dir", str(certificates)]
    server.ready = lambda: listens(server.port)
    server.start()
    try:
        endpoint = server.endpoint.replace("http:", "https:")
        trusting = replace(
            server.access, endpoint=endpoint, ca_file=str(certificates / "public.crt")
        )
        client = trusting.client()
        client.make_bucket("safe")
        assert store_of(trusting, "safe").put("k", io.BytesIO(b"x")).size == 1
        with pytest.raises(StoreUnavailable, match="certificate verify failed"):
            store_of(replace(trusting, ca_file=None), "safe").stat("k")
    finally:
        server.stop()


def test_an_outage_is_transient_and_passes(tmp_path: Path, minio: MinioServer) -> None:
    del minio
    server = MinioServer(tmp_path / "minio")
    server.start()
    try:
        server.access.client().make_bucket("bucket")
        store = store_of(server.access, "bucket")
        store.put("k", io.BytesIO(b"x"))
        server.kill()
        with pytest.raises(StoreUnavailable, match="does not answer") as caught:
            store.stat("k")
        assert caught.value.transient
        server.start()
        assert store.open("k").read() == b"x"
    finally:
        server.stop()


class CuttingRelay:
    """Passes bytes on to a server, and cuts the first connections in mid-answer."""

    def __init__(self, port: int, *, cuts: int, after: int) -> None:
        self.target, self.cuts, self.after = port, cuts, after
        self.listener = socket.create_server(("127.0.0.1", free_port()))
        self.port = int(self.listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        passed = 0
        with suppress(OSError):
            while block := source.recv(65536):
                passed += len(block)
                if answers and self.cuts and passed > self.after:
                    self.cuts -= 1
                    break
                target.sendall(block)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


class TestBrokenConnections:
    @pytest.fixture
    def content(self) -> bytes:
        return random.Random(7).randbytes(6_000_000)

    @pytest.fixture
    def relay(self, minio: MinioServer, request: pytest.FixtureRequest) -> Iterator[CuttingRelay]:
        relay = CuttingRelay(minio.port, cuts=request.param, after=1_500_000)
        yield relay
        relay.listener.close()

    @pytest.mark.parametrize("relay", [3], indirect=True)
    def test_reading_goes_on_where_it_broke(
        self, minio: MinioServer, bucket: str, relay: CuttingRelay, content: bytes
    ) -> None:
        store_of(minio.access, bucket).put("k", io.BytesIO(content))
        access = replace(minio.access, endpoint=f"http://127.0.0.1:{relay.port}")
        with store_of(access, bucket).open("k") as stream:
            assert stream.read() == content
        assert relay.cuts == 0

    @pytest.mark.parametrize("relay", [100], indirect=True)
    def test_a_line_that_keeps_breaking_is_given_up(
        self, minio: MinioServer, bucket: str, relay: CuttingRelay, content: bytes
    ) -> None:
        store_of(minio.access, bucket).put("k", io.BytesIO(content * 3))
        access = replace(minio.access, endpoint=f"http://127.0.0.1:{relay.port}")
        with store_of(access, bucket).open("k") as stream, pytest.raises(StoreUnavailable):
            stream.read()

    @pytest.mark.parametrize("relay", [1], indirect=True)
    def test_it_does_not_go_on_in_another_object(
        self, minio: MinioServer, bucket: str, relay: CuttingRelay, content: bytes
    ) -> None:
        direct = store_of(minio.access, bucket)
        direct.put("k", io.BytesIO(content))
        access = replace(minio.access, endpoint=f"http://127.0.0.1:{relay.port}")
        with store_of(access, bucket).open("k") as stream:
            assert stream.read(10) == content[:10]
            direct.put("k", io.BytesIO(content[::-1]))
            with pytest.raises(ObjectChanged):
                stream.read()
