"""The test cluster itself: what it says when it cannot be, and that it leaves nothing behind."""

import time
from pathlib import Path

import pytest
from testcluster.binaries import BinaryMissing, binary
from testcluster.control_plane import ControlPlane
from testcluster.identity import began

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(2400)]


def test_without_go_the_reason_names_what_is_missing_and_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BinaryMissing, match=r"install Go .*cluster\.py build"):
        binary("kube")


def test_failed_build_is_told_with_its_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nice = tmp_path / "nice"
    nice.write_text("#!/bin/sh\necho no such module >&2\nexit 1\n", encoding="utf-8")
    (tmp_path / "go").write_text("", encoding="utf-8")
    for file in tmp_path.iterdir():
        file.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BinaryMissing, match=r"could not be built \(no such module\)"):
        binary("etcd")


def test_second_control_plane_starts_beside_the_first_and_leaves_nothing(
    control_plane: ControlPlane,
) -> None:
    with ControlPlane() as second:
        assert second.url != control_plane.url
        folder = second.folder
        processes = {pid: began(pid) for pid in second.pids()}
        assert second.client.get("/version").json()["major"] == "1"
    assert not folder.exists()
    assert not [pid for pid, when in processes.items() if began(pid) == when]


def test_controllers_audit_log_and_own_flags(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n", encoding="utf-8"
    )
    with ControlPlane(
        controllers="*", audit_policy=policy, api_server_flags=("--max-requests-inflight=77",)
    ) as plane:
        children = "/apis/apps/v1/namespaces/default/replicasets"
        labels = {"app": "one"}
        deployment = {
            "metadata": {"name": "one"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "one", "image": "none"}]},
                },
            },
        }
        url = "/apis/apps/v1/namespaces/default/deployments"
        assert plane.client.post(url, json=deployment).status_code == 201
        deadline = time.monotonic() + 180
        while not plane.client.get(children).json()["items"]:
            assert time.monotonic() < deadline, "no ReplicaSet was made"
            time.sleep(0.1)
        assert '"objectRef":{"resource":"deployments"' in plane.audit_log.read_text()
        assert plane.kubeconfig.stat().st_mode & 0o077 == 0
        assert "--max-requests-inflight=77" in (
            Path(f"/proc/{plane.pids()[1]}/cmdline").read_text().split("\0")
        )
