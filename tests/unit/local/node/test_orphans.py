"""SIGKILL of the platform: no process of a pod outlives it."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from nexus_local.node.children import Children
from nexus_local.node.orphans import Records, birth

from .conftest import PROGRAMS, eventually, running_site

PLATFORM = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from nexus_local.node import Node
from nexus_local.store.local import LocalCluster

async def main():
    folder = Path(sys.argv[1])
    cluster = LocalCluster(folder / "objects.db")
    entry = (sys.executable, sys.argv[3], "web")
    node = Node(cluster, data_dir=folder / "node", entrypoints={"web": entry})
    container = {
        "name": "main",
        "image": "web",
        "args": ["--child", str(folder / "child.pid")],
        "ports": [{"containerPort": 8080}],
    }
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    meta = {"name": "web"}
    kind = {"apiVersion": "apps/v1", "kind": "Deployment"}
    await cluster.apply({**kind, "metadata": meta, "spec": spec})
    await node.run(asyncio.Event())

asyncio.run(main())
"""


async def test_killed_platform_leaves_no_process_not_even_a_grandchild(tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", PLATFORM, str(tmp_path), here, PROGRAMS]
    for _ in range(2):
        (tmp_path / "child.pid").unlink(missing_ok=True)
        family = await kill_when_up(command, tmp_path / "child.pid")
        assert len(family) >= 3  # the pod, its child and the watchdog
        await eventually(lambda: not any(alive(process) for process in family))  # noqa: B023 - awaited
    async with running_site(tmp_path) as site:
        assert all(m.pid not in {process.pid for process in family} for m in site.node.memory())


def watchdogs_of(process: psutil.Process) -> set[psutil.Process]:
    there = [one for one in process.children() if one.status() != psutil.STATUS_ZOMBIE]
    return {one for one in there if "watchdog.py" in " ".join(one.cmdline())}


async def test_watchdog_that_was_killed_is_replaced_by_one_that_knows_the_groups(
    tmp_path: Path,
) -> None:
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", PLATFORM, str(tmp_path), here, PROGRAMS]
    platform = await asyncio.create_subprocess_exec(*command)
    root = psutil.Process(platform.pid)
    await eventually((tmp_path / "child.pid").exists)
    (old,) = watchdogs_of(root)
    old.kill()
    await eventually(lambda: bool(watchdogs_of(root) - {old}))
    family = root.children(recursive=True)
    assert len(family) >= 3  # the pod, its child and the new watchdog
    root.kill()
    await platform.wait()
    await eventually(lambda: not any(alive(process) for process in family))


async def kill_when_up(command: list[str], written: Path) -> list[psutil.Process]:
    """Run a platform, kill it once its pod has written, and return what it had started."""
    platform = await asyncio.create_subprocess_exec(*command)
    await eventually(lambda: written.exists() and bool(written.read_text()))
    family = psutil.Process(platform.pid).children(recursive=True)
    platform.kill()
    await platform.wait()
    return family


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_sweep_ends_what_was_recorded_and_spares_reused_numbers(tmp_path: Path) -> None:
    records = Records(tmp_path / "processes", tmp_path / "pods")
    command = [sys.executable, PROGRAMS, "step", "sleep"]
    with (
        subprocess.Popen(command, start_new_session=True) as left,
        subprocess.Popen(command, start_new_session=True) as stranger,
    ):
        try:
            records.add(left.pid, "default/a")
            other = {"born": "another boot:1", "pod": "default/b"}
            (tmp_path / "processes" / str(stranger.pid)).write_text(json.dumps(other))
            (tmp_path / "processes" / "999999999").write_text("{")
            killed = Records(tmp_path / "processes", tmp_path / "pods").sweep()
            assert killed == [left.pid]
            assert not psutil.pid_exists(left.pid)
            assert stranger.poll() is None
            assert list((tmp_path / "processes").iterdir()) == []
        finally:
            left.kill()
            stranger.kill()


def test_sweep_finds_what_outlived_its_leader(tmp_path: Path) -> None:
    """A leader that is gone, with a child in its group that still runs."""
    child = tmp_path / "child.pid"
    code = (
        "import subprocess, sys, pathlib\n"
        f"p = subprocess.Popen([sys.executable, {PROGRAMS!r}, 'step', 'sleep'])\n"
        f"pathlib.Path({str(child)!r}).write_text(str(p.pid))\n"
    )
    env = {**os.environ, "NEXUS_POD_FOLDER": str(tmp_path / "pods" / "default" / "a")}
    with subprocess.Popen([sys.executable, "-c", code], env=env, start_new_session=True) as leader:
        leader.wait()
    pid = int(child.read_text())
    folder = tmp_path / "processes"
    records = Records(folder, tmp_path / "pods")
    (folder / str(leader.pid)).write_text(json.dumps({"born": "x", "pod": "default/a"}))
    assert records.sweep() == [pid]
    assert birth(leader.pid) is None


async def test_child_whose_record_cannot_be_written_is_still_known(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "processes"
    children = Children(Records(folder, tmp_path))
    folder.rmdir()
    child = children.start(
        ("/bin/sleep", "60"), env={}, folder=tmp_path, log=tmp_path / "log", label="a"
    )
    assert children.running() == [child]
    assert "no record" in caplog.text
    await children.close()
    assert not psutil.pid_exists(child.pid)


async def test_close_ends_everything(tmp_path: Path) -> None:
    children = Children(Records(tmp_path / "processes", tmp_path / "pods"))
    argv = (sys.executable, PROGRAMS, "step", "sleep")
    started = [
        children.start(argv, env={}, folder=tmp_path, log=tmp_path / "log", label=f"p{number}")
        for number in range(3)
    ]
    await children.close()
    assert all(child.ended.done() for child in started)
    assert children.running() == []
    assert list((tmp_path / "processes").iterdir()) == []
    await asyncio.gather(*(child.ended for child in started))
