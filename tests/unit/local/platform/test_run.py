"""The start of the platform: folders it cannot have, ports that are another's."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from ports import free_port

from nexus_local.platform import run as platform
from nexus_local.platform.layout import Layout, read_json, registry, write_private


def options(root: Path) -> platform.Options:
    return platform.Options(
        layout=Layout(root), port=free_port(), embedding_model="x", model_cache=root / "cache"
    )


async def test_a_data_directory_that_cannot_be_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wanted = options(tmp_path / "file" / "below")
    with pytest.raises(platform.PlatformError, match=r"below.*--data-dir"):
        await platform.run(wanted, asyncio.Event(), tell=print)


@pytest.mark.parametrize("url", ["localhost:5000", "sqlite:////data/other.db", "http://[::"])
async def test_an_mlflow_that_is_no_server_is_refused_at_the_start(
    tmp_path: Path, url: str
) -> None:
    wanted = replace(options(tmp_path), tracking_url=url)
    with pytest.raises(platform.PlatformError, match=r"--tracking-url.*http://localhost:5000"):
        await platform.run(wanted, asyncio.Event(), tell=print)


async def test_a_platform_that_lost_the_race_for_a_port_leaves_the_others_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    late = options(tmp_path / "late")
    late.layout.create()
    entry, first = registry(late.url), {"data_dir": str(tmp_path / "first"), "pid": 1}
    write_private(entry, dict(first))
    async with platform._published(late):
        assert read_json(entry) == first
    assert read_json(entry) == first
