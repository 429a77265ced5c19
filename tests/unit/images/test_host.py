"""What a build borrows from the machine it runs on."""

import configparser
from pathlib import Path

import pytest
from images import host
from images.errors import ToolMissing


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def pip_conf(text: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return dict(parser.items("global"))


class TestMirrors:
    def test_stanzas_are_read(self, apt: Path) -> None:
        (apt / "sources.list.d" / "debian.sources").write_text(
            "Types: deb\n# URIs: http://old.example/debian\nURIs: http://a.example/debian/\n"
            "Suites: bookworm\n\nTypes: deb\nURIs: http://a.example/debian-security\n"
        )
        found = host.mirrors(apt)
        assert found == host.Mirrors("http://a.example/debian/", "http://a.example/debian-security")

    def test_one_line_sources_are_read(self, apt: Path) -> None:
        (apt / "sources.list").write_text(
            "# deb http://old.example/debian bookworm main\n"
            "deb https://other.example/apt stable main\n"
            "deb [arch=amd64 signed-by=/k.gpg] http://b.example/debian bookworm main\n"
        )
        assert host.mirrors(apt) == host.Mirrors("http://b.example/debian")

    def test_a_machine_without_debian_is_told_so(self, apt: Path) -> None:
        (apt / "sources.list").write_text("deb http://c.example/ubuntu noble main\n")
        with pytest.raises(ToolMissing, match="names no Debian mirror"):
            host.mirrors(apt)

    def test_sources_name_security_updates_only_where_there_are_any(self) -> None:
        assert "security" not in host.Mirrors("http://a.example/debian").sources()
        both = host.Mirrors("http://a.example/debian", "http://a.example/debian-security")
        assert "http://a.example/debian-security bookworm-security main" in both.sources()


class TestPip:
    def test_the_environment_wins_over_files_and_later_files_over_earlier(
        self, tmp_path: Path
    ) -> None:
        first, second = tmp_path / "first", tmp_path / "second"
        first.write_text("[global]\nindex-url = https://one.example\ntimeout = 5\n")
        second.write_text("[install]\ntimeout = 9\ntrusted-host = one.example\n   two.example\n")
        text = host.pip_configuration(
            {"PIP_INDEX_URL": "https://user:pw@two.example"}, [first, second, tmp_path / "none"]
        )
        assert pip_conf(text) == {
            "index-url": "https://user:pw@two.example",
            "timeout": "9",
            "trusted-host": "one.example\ntwo.example",
        }

    def test_what_is_about_this_machine_alone_stays_on_it(self, tmp_path: Path) -> None:
        file = tmp_path / "pip.conf"
        file.write_text("[global]\ncert = /here/ca.pem\nfind-links = /here/wheels\ntarget = /x\n")
        assert pip_conf(host.pip_configuration({"PIP_CERT": "/here/ca.pem"}, [file])) == {}

    def test_the_default_timeout_counts(self) -> None:
        text = host.pip_configuration({"PIP_DEFAULT_TIMEOUT": "180"}, [])
        assert pip_conf(text) == {"timeout": "180"}

    def test_a_named_file_is_the_strongest(self, tmp_path: Path) -> None:
        files = host.pip_files({"HOME": str(tmp_path), "PIP_CONFIG_FILE": "/x/pip.conf"})
        assert files[-1] == Path("/x/pip.conf")
        assert tmp_path / ".config/pip/pip.conf" in files


class TestMounts:
    def test_certificates_are_mounted_only_where_the_machine_names_some(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(host, "mirrors", lambda: host.Mirrors("http://a.example/debian"))
        bundle = tmp_path / "ca.pem"
        bundle.touch()
        assert host.BUNDLE not in host.mounts(tmp_path, {"SSL_CERT_FILE": str(tmp_path / "none")})
        assert host.mounts(tmp_path, {"SSL_CERT_FILE": str(bundle)})[host.BUNDLE] == bundle

    def test_what_may_hold_a_password_is_for_the_owner_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(host, "mirrors", lambda: host.Mirrors("http://a.example/debian"))
        found = host.mounts(tmp_path, {"PIP_INDEX_URL": "https://user:pw@one.example"})
        assert found["/etc/pip.conf"].stat().st_mode & 0o777 == 0o600


def test_a_cpu_build_of_torch_is_taken_from_the_folder_that_is_named(tmp_path: Path) -> None:
    named = {"NEXUS_WHEELS": str(tmp_path)}
    assert host.torch_wheels(named) is None
    (tmp_path / "torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl").touch()
    assert host.torch_wheels(named) is None  # that one brings CUDA
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl").touch()
    assert host.torch_wheels(named) == tmp_path
