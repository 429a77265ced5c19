"""Certificates: who they are for, who vouches for them, who can read the key."""

import socket
import ssl
import stat
import threading
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID
from testcluster.certificates import Authority, signing_key, write_secret


def test_client_trusts_a_server_under_its_names_and_shows_its_own(tmp_path: Path) -> None:
    authority = Authority.new("test")
    authority.pair.write(tmp_path, "ca")
    authority.sign("server", hosts=("localhost", "127.0.0.1")).write(tmp_path, "server")
    authority.sign("admin", groups=("system:masters",)).write(tmp_path, "admin")
    asks = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    asks.load_cert_chain(tmp_path / "admin.crt", tmp_path / "admin.key")
    serves = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "ca.crt"))
    serves.verify_mode = ssl.CERT_REQUIRED
    serves.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    here, there = socket.socketpair()
    seen: list[object] = []

    def serve() -> None:
        with serves.wrap_socket(there, server_side=True) as connection:
            seen.append(connection.getpeercert())

    server = threading.Thread(target=serve)
    server.start()
    with asks.wrap_socket(here, server_hostname="localhost"):
        server.join(timeout=10)
    assert "system:masters" in str(seen)


def test_user_and_groups_are_in_the_subject() -> None:
    pair = Authority.new("test").sign("system:node:node0", groups=("system:nodes",))
    subject = x509.load_pem_x509_certificate(pair.certificate).subject
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:node0"
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:nodes"


def test_keys_are_their_owners_alone(tmp_path: Path) -> None:
    private, public = signing_key()
    write_secret(tmp_path / "key", private)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert b"PRIVATE" in private
    assert b"PRIVATE" not in public
