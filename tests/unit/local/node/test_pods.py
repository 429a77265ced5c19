"""Pods as child processes: environment, files, probes, restarts, stops."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from .conftest import (
    Site,
    answers,
    container_state,
    eventually,
    get,
    is_ready,
    local_port,
    pod,
    ref,
    running_site,
    web_container,
)


async def test_pod_runs_becomes_ready_and_is_told_where_to_listen(site: Site) -> None:
    made = await site.cluster.create(pod("a", web_container()))
    seen = await site.until(ref(made), is_ready)
    assert seen["status"]["phase"] == "Running"
    assert seen["status"]["podIP"] == "127.0.0.1"
    about = await get(local_port(seen))
    assert about["env"]["NEXUS_HOST"] == "127.0.0.1"
    assert about["env"]["NEXUS_PORT"] == about["env"]["NEXUS_PORT_HTTP"] == str(local_port(seen))
    assert about["cwd"] == str(site.folder / "node" / "pods" / "default" / "a")
    memory = site.node.memory()
    assert [(m.pod, m.pid) for m in memory] == [("default/a", about["pid"])]
    assert memory[0].resident > 1_000_000


async def test_child_sees_none_of_the_platforms_own_environment(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    made = await site.cluster.create(pod("a", web_container()))
    about = await get(local_port(await site.until(ref(made), is_ready)))
    assert "SOME_TOKEN" not in about["env"]
    assert about["env"]["HTTPS_PROXY"] == "http://proxy:3128"


async def test_environment_arguments_and_volumes(site: Site) -> None:
    data = {"GREETING": "hello", "NEXUS_PORT": "1"}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config"}, "data": data}
    await site.cluster.create(config)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}}
    await site.cluster.create({**secret, "stringData": {"token": "s3cret"}})
    container = web_container(
        "--cache=/models/x",
        "$(GREETING) $(POD) $$(POD) $(UNKNOWN)",
        "/scratch/out",
        "/tmp/of/this/machine",
        "$(NEXUS_PORT)",
        envFrom=[
            {"configMapRef": {"name": "config"}},
            {"secretRef": {"name": "no", "optional": True}},
        ],
        env=[
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
            {"name": "BOTH", "value": "$(GREETING), $(POD)"},
            {"name": "CACHE", "value": "/models"},
            {"name": "OTHER", "value": "/modelsmith"},
            {"name": "NEXUS_PORT", "value": "8080"},
        ],
        volumeMounts=[
            {"name": "models", "mountPath": "/models"},
            {"name": "scratch", "mountPath": "/scratch"},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "keys", "mountPath": "/keys", "readOnly": True},
            {"name": "config", "mountPath": "/config"},
        ],
    )
    volumes = [
        {"name": "models", "persistentVolumeClaim": {"claimName": "cache"}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "keys", "secret": {"secretName": "keys"}},
        {
            "name": "config",
            "configMap": {"name": "config", "items": [{"key": "GREETING", "path": "sub/greeting"}]},
        },
    ]
    made = await site.cluster.create(pod("a", container, volumes=volumes))
    about = await get(local_port(await site.until(ref(made), is_ready)))
    home = site.folder / "node"
    own = home / "pods" / "default" / "a" / "volumes"
    env = about["env"]
    assert env["GREETING"] == "hello"
    assert env["TOKEN"] == "s3cret"
    assert env["BOTH"] == "hello, a"
    assert env["CACHE"] == str(home / "volumes" / "default" / "cache")
    assert env["OTHER"] == "/modelsmith"
    assert env["NEXUS_PORT"] not in {"1", "8080"}
    assert about["args"] == [
        f"--cache={home}/volumes/default/cache/x",
        "hello a $(POD) $(UNKNOWN)",
        str(own / "scratch" / "out"),
        "/tmp/of/this/machine",
        env["NEXUS_PORT"],
    ]
    assert (own / "keys" / "token").read_text() == "s3cret"
    assert (own / "keys" / "token").stat().st_mode & 0o077 == 0
    assert (own / "config" / "sub" / "greeting").read_text() == "hello"


async def test_pod_waits_for_a_missing_config_map_and_starts_when_it_comes(site: Site) -> None:
    container = web_container(envFrom=[{"configMapRef": {"name": "late"}}])
    made = await site.cluster.create(pod("a", container))

    def waits(seen: dict[str, Any]) -> bool:
        reason = container_state(seen).get("waiting", {}).get("reason")
        return bool(reason == "CreateContainerConfigError")

    seen = await site.until(ref(made), waits)
    assert 'configmap "late" not found' in container_state(seen)["waiting"]["message"]
    assert seen["status"]["phase"] == "Pending"
    await site.cluster.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late"}}
    )
    await site.until(ref(made), is_ready)


@pytest.mark.parametrize(
    ("container", "reason", "names"),
    [
        ({"image": "docker.io/library/nginx:1"}, "ErrImageNeverPull", "nginx"),
        ({"command": ["/bin/sh", "-c", "true"]}, "ErrImageNeverPull", "/bin/sh"),
        ({"image": "x/missing:1"}, "StartError", "/nowhere/missing"),
        (
            {"lifecycle": {"preStop": {"exec": {"command": ["web"]}}}},
            "CreateContainerConfigError",
            r"spec.containers[0].lifecycle",
        ),
        (
            {"volumeMounts": [{"name": "none", "mountPath": "/x"}]},
            "CreateContainerConfigError",
            "none",
        ),
        (
            {"env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]},
            "CreateContainerConfigError",
            "spec.nodeName",
        ),
    ],
)
async def test_pod_that_cannot_run_here_says_why(
    site: Site, container: dict[str, Any], reason: str, names: str
) -> None:
    made = await site.cluster.create(pod("a", web_container(**container)))
    seen = await site.until(ref(made), lambda p: "waiting" in container_state(p))
    waiting = container_state(seen)["waiting"]
    assert waiting["reason"] == reason
    assert names in waiting["message"]
    assert site.node.memory() == []


async def test_crashed_container_comes_back_and_is_held_back_when_it_goes_on(site: Site) -> None:
    made = await site.cluster.create(pod("a", web_container()))
    first = await site.until(ref(made), is_ready)
    with pytest.raises(ConnectionResetError):
        await get(local_port(first), "/crash")

    def came_back(seen: dict[str, Any]) -> bool:
        return is_ready(seen) and seen["status"]["containerStatuses"][0]["restartCount"] == 1

    second = await site.until(ref(made), came_back)
    last = second["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (3, "Error")

    other = await site.cluster.create(
        pod("b", {"name": "main", "image": "step", "args": ["say", "again", "exit", "4"]})
    )

    def held_back(seen: dict[str, Any]) -> bool:
        waiting = container_state(seen).get("waiting", {})
        return bool(waiting.get("reason") == "CrashLoopBackOff")

    seen = await site.until(ref(other), held_back)
    assert "back-off" in container_state(seen)["waiting"]["message"]
    assert seen["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 4
    await site.until(ref(other), lambda p: p["status"]["containerStatuses"][0]["restartCount"] >= 3)
    logs = site.node.folders.log_files("default", "b")
    assert len(logs) <= 2
    assert logs[0].read_text() == "again\n"


async def test_failed_container_leaves_its_last_words_where_it_is_asked_to(site: Site) -> None:
    said = ["say", "x" * 5000, "say", "the file is not there", "exit", "4"]
    container = {"name": "main", "image": "step", "args": said}
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    silent = await site.cluster.create(pod("a", container, restartPolicy="Never"))
    talking = await site.cluster.create(pod("b", container | policy, restartPolicy="Never"))
    fine = {**container, **policy, "args": ["say", "all is well"]}
    well = await site.cluster.create(pod("c", fine, restartPolicy="Never"))

    async def message(made: dict[str, Any]) -> str:
        seen = await site.until(ref(made), lambda p: "terminated" in container_state(p))
        return str(container_state(seen)["terminated"].get("message", ""))

    assert await message(silent) == ""
    words = await message(talking)
    assert words.endswith("x\nthe file is not there")
    assert len(words) <= 2048
    assert await message(well) == ""


async def test_deleted_pod_is_stopped_and_leaves_nothing(site: Site) -> None:
    made = await site.cluster.create(pod("a", web_container()))
    seen = await site.until(ref(made), is_ready)
    pid = (await get(local_port(seen)))["pid"]
    await site.cluster.delete(ref(made))
    await site.until_gone(ref(made))
    assert not psutil.pid_exists(pid)
    await eventually(lambda: not (site.folder / "node" / "pods" / "default" / "a").exists())


async def test_process_that_will_not_end_is_killed_with_its_children(
    site: Site, tmp_path: Path
) -> None:
    child = tmp_path / "child.pid"
    container = web_container("--deaf", "--child", str(child))
    made = await site.cluster.create(pod("a", container, terminationGracePeriodSeconds=0))
    seen = await site.until(ref(made), is_ready)
    pids = [(await get(local_port(seen)))["pid"], int(child.read_text())]
    assert all(psutil.pid_exists(pid) for pid in pids)
    await site.cluster.delete(ref(made))
    await site.until_gone(ref(made))
    await eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids))


async def test_readiness_follows_the_probe(site: Site, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    probe = {
        "httpGet": {"path": "/ready", "port": "http"},
        "periodSeconds": 1,
        "failureThreshold": 1,
    }
    container = web_container(env=[{"name": "GATE", "value": str(gate)}], readinessProbe=probe)
    made = await site.cluster.create(pod("a", container))
    await site.until(ref(made), lambda p: "running" in container_state(p))
    gate.touch()
    await site.until(ref(made), is_ready)
    gate.unlink()
    seen = await site.until(
        ref(made), lambda p: not is_ready(p) and "running" in container_state(p)
    )
    assert seen["status"]["containerStatuses"][0]["restartCount"] == 0


async def test_failing_liveness_probe_restarts_the_container(site: Site, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    container = web_container(
        env=[{"name": "GATE", "value": str(gate)}],
        startupProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 60},
        livenessProbe={
            "httpGet": {"path": "/ready", "port": 8080},
            "periodSeconds": 1,
            "timeoutSeconds": 10,
            "failureThreshold": 1,
        },
        readinessProbe=None,
    )
    made = await site.cluster.create(pod("a", container))
    seen = await site.until(ref(made), is_ready)
    assert seen["status"]["containerStatuses"][0]["restartCount"] == 0
    gate.unlink()

    def restarted(seen: dict[str, Any]) -> bool:
        return bool(seen["status"]["containerStatuses"][0]["restartCount"] > 0)

    seen = await site.until(ref(made), restarted)
    last = seen["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert "liveness" in last["message"]


async def test_startup_probe_holds_the_others_back(site: Site, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    container = web_container(
        env=[{"name": "GATE", "value": str(gate)}],
        startupProbe={"exec": {"command": ["step", "exit-unless", str(gate)]}, "periodSeconds": 1},
        livenessProbe={
            "httpGet": {"path": "/ready", "port": "http"},
            "periodSeconds": 1,
            "timeoutSeconds": 10,
            "failureThreshold": 1,
        },
    )
    container["startupProbe"] |= {"failureThreshold": 60, "timeoutSeconds": 10}
    made = await site.cluster.create(pod("a", container))
    seen = await site.until(ref(made), lambda p: "running" in container_state(p))
    assert seen["status"]["containerStatuses"][0]["started"] is False
    await eventually(lambda: answers(local_port(seen)))
    gate.touch()
    seen = await site.until(ref(made), is_ready)
    assert seen["status"]["containerStatuses"][0]["restartCount"] == 0


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (5, "Failed")])
async def test_pod_that_is_not_restarted_ends(site: Site, code: int, phase: str) -> None:
    container = {"name": "main", "image": "step", "args": ["exit", str(code)]}
    made = await site.cluster.create(pod("a", container, restartPolicy="Never"))
    seen = await site.until(ref(made), lambda p: "terminated" in container_state(p))
    assert seen["status"]["phase"] == phase
    assert container_state(seen)["terminated"]["exitCode"] == code


async def test_deadline_ends_a_pod(site: Site) -> None:
    container = {"name": "main", "image": "step", "args": ["sleep"]}
    made = await site.cluster.create(
        pod("a", container, restartPolicy="Never", activeDeadlineSeconds=1)
    )
    seen = await site.until(ref(made), lambda p: "terminated" in container_state(p))
    assert container_state(seen)["terminated"]["reason"] == "DeadlineExceeded"


async def test_pods_come_back_after_a_stop_of_the_platform(tmp_path: Path) -> None:
    async with running_site(tmp_path) as site:
        made = await site.cluster.create(pod("a", web_container()))
        over = {"name": "main", "image": "step", "args": ["exit", "0"]}
        done = await site.cluster.create(pod("done", over, restartPolicy="Never"))
        pid = (await get(local_port(await site.until(ref(made), is_ready))))["pid"]
        await site.until(ref(done), lambda p: (p.get("status") or {}).get("phase") == "Succeeded")
    assert not psutil.pid_exists(pid)
    async with running_site(tmp_path) as site:
        seen = await site.cluster.get(ref(made))
        assert seen is not None
        assert not is_ready(seen)
        seen = await site.until(ref(made), is_ready)
        assert seen["status"]["containerStatuses"][0]["restartCount"] == 1
        ended = await site.cluster.get(ref(done))
        assert ended is not None
        assert ended["status"]["phase"] == "Succeeded"
        assert ended["status"]["containerStatuses"][0]["restartCount"] == 0  # and never ran again


async def test_pod_replaced_by_one_of_the_same_name(site: Site) -> None:
    first = await site.cluster.create(pod("a", web_container()))
    await site.until(ref(first), is_ready)
    await site.cluster.delete(ref(first))
    await site.until_gone(ref(first))
    second = await site.cluster.create(pod("a", web_container("second")))
    seen = await site.until(ref(second), is_ready)
    assert seen["metadata"]["uid"] == second["metadata"]["uid"]
    assert (await get(local_port(seen)))["args"] == ["second"]


async def test_signals_count_as_a_shell_counts_them(site: Site) -> None:
    container = {"name": "main", "image": "step", "args": ["sleep"]}
    made = await site.cluster.create(pod("a", container, restartPolicy="Never"))
    await site.until(ref(made), lambda p: "running" in container_state(p))
    os.kill(site.node.memory()[0].pid, signal.SIGKILL)
    seen = await site.until(ref(made), lambda p: "terminated" in container_state(p))
    assert container_state(seen)["terminated"]["exitCode"] == 137


async def test_idle_node_does_not_wake_up(site: Site) -> None:
    made = await site.cluster.create(
        pod("a", web_container(readinessProbe=None, image="step", args=["sleep"]))
    )
    await site.until(ref(made), is_ready)

    async def rests() -> bool:
        before = await site.cluster.list("v1", "Pod")
        used = psutil.Process().cpu_times()
        await asyncio.sleep(1)  # the one thing to see here is that nothing happens
        after = psutil.Process().cpu_times()
        quiet = after.user + after.system - used.user - used.system < 0.1
        return quiet and await site.cluster.list("v1", "Pod") == before

    await eventually(rests)  # what its start has left to do may take a while
