"""The licence that a model's own files name: read in bounds, cleaned, never trusted."""

from pathlib import Path

import pytest
from gguf import GGUFWriter

from nexus_models import Licence, ModelFiles, ModelFormat, named_licence

BAD = "x\u202e" + "y" * 100_000 + "\n# head\x1b[31m\x00"


def gguf(path: Path, **values: str | int) -> ModelFiles:
    """Write a GGUF whose keys begin with general., `__` for a dot, after a small vocabulary."""
    writer = GGUFWriter(path, "llama")
    writer.add_token_list(["<s>", "a"] * 5)
    writer.add_array("tests.numbers", [1, 2, 3])
    writer.add_array("tests.nested", [[1, 2], [3]])
    for name, value in values.items():
        key = f"general.{name.replace('__', '.')}"
        if isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_uint32(key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return ModelFiles(path.parent, "ab" * 32, ModelFormat.GGUF, (path,))


def folder(path: Path, readme: str | bytes) -> ModelFiles:
    data = readme.encode() if isinstance(readme, str) else readme
    (path / "README.md").write_bytes(data)
    weights = path / "model.safetensors"
    return ModelFiles(path, "ab" * 32, ModelFormat.SAFETENSORS, (weights,))


def test_one_gguf_names_its_licence_in_its_header(tmp_path: Path) -> None:
    link = "https://example.org/terms"
    found = gguf(tmp_path / "m.gguf", license="other", license__name="Own", license__link=link)
    said = named_licence(found)
    assert said == Licence("other", "Own", link, "general.license of m.gguf")
    assert named_licence(gguf(tmp_path / "n.gguf", license="mit")) == Licence(
        "mit", "", "", "general.license of n.gguf"
    )


def test_a_gguf_without_one_or_in_several_files_names_none(tmp_path: Path) -> None:
    assert named_licence(gguf(tmp_path / "m.gguf", name="m")) is None
    assert named_licence(gguf(tmp_path / "n.gguf", license=7)) is None
    one = gguf(tmp_path / "o.gguf", license="mit")
    split = ModelFiles(one.dir, one.digest, one.format, one.weights * 2)
    assert named_licence(split) is None


def test_only_the_beginning_of_a_gguf_is_read(tmp_path: Path) -> None:
    found = gguf(tmp_path / "m.gguf", description="d" * (2 << 20), license="mit")
    assert named_licence(found) is None
    found = gguf(tmp_path / "n.gguf", license="mit", description="d" * (2 << 20))
    assert named_licence(found) is not None


def test_a_gguf_that_is_cut_or_spoilt_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = gguf(tmp_path / "m.gguf", license="mit").weights[0].read_bytes()
    path = tmp_path / "bad.gguf"
    found = ModelFiles(tmp_path, "ab" * 32, ModelFormat.GGUF, (path,))
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        assert named_licence(found) in (None, Licence("mit", "", "", "general.license of bad.gguf"))
        path.write_bytes(whole[:end] + b"\xff" + whole[end + 1 :])
        said = named_licence(found)
        assert said is None or len(said.id) <= 3
    path.unlink()
    assert named_licence(found) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("license: apache-2.0\n", ("apache-2.0", "", "")),
        (
            """tags:\n- x\nlicense: 'other' # see below\nlicense_name: "Own terms"
license_link: https://example.org/#a\n""",
            ("other", "Own terms", "https://example.org/#a"),
        ),
        ("license: [mit, apache-2.0]\r\n", ("[mit, apache-2.0]", "", "")),
        ("license_name: Own\n", ("", "Own", "")),
    ],
)
def test_a_folder_names_it_in_the_front_matter(
    tmp_path: Path, text: str, said: tuple[str, str, str]
) -> None:
    found = named_licence(folder(tmp_path, f"---\n{text}---\n# Model\nlicense: no\n"))
    assert found == Licence(*said, "front matter of README.md")


@pytest.mark.parametrize(
    "text",
    [
        *("", "license: mit\n", "# Model\n---\nlicense: mit\n---\n", "---\nlicense: mit\n"),
        *("---\nlicense:\n- mit\n---\n", "---\nlicense: |\n  mit\n---\n", "---\nlicense: ~\n---\n"),
        *("---\n  license: mit\n---\n", "---\nx: " + "y" * 100_000 + "\nlicense: mit\n---\n"),
    ],
)
def test_what_is_no_such_line_of_front_matter_names_none(tmp_path: Path, text: str) -> None:
    assert named_licence(folder(tmp_path, text)) is None


def test_a_folder_without_a_readme_or_with_a_link_for_one_names_none(tmp_path: Path) -> None:
    found = folder(tmp_path, b"---\nlicense: mit\n---\n")
    readme = tmp_path / "README.md"
    readme.rename(tmp_path / "elsewhere.md")
    assert named_licence(found) is None
    readme.symlink_to(tmp_path / "elsewhere.md")
    assert named_licence(found) is None
    readme.unlink()
    readme.mkdir()
    assert named_licence(found) is None


def test_what_a_file_says_is_one_short_line_of_print(tmp_path: Path) -> None:
    said = named_licence(gguf(tmp_path / "m.gguf", license=BAD, license__link=BAD))
    other = b"---\nlicense: x\xff\xe2\x80\xae\x1b[31m\x00 y" + b"z" * 5000 + b"\n---\n"
    for one in (said, named_licence(folder(tmp_path, other))):
        assert one is not None
        for text, longest in ((one.id, 100), (one.name, 100), (one.link, 300)):
            assert len(text) <= longest
            assert text.isprintable()
            assert "\u202e" not in text
    name = tmp_path / ("n\n# `x" + "y" * 180 + ".gguf")
    named = named_licence(gguf(name, license="mit"))
    assert named is not None
    assert named.source.isprintable()
