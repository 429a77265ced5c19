"""Files for the tests, made here: a small PDF writer, DOCX by python-docx, the tokenizer."""
# ruff: noqa: RUF001 - text of many scripts

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from nexus_pipelines.chunk.tokens import TextTokenizer

WORDS = """the of and to in a is that for it as was with be by on not he his but at are this have
from or had an they which one you were all her she there would their we him been has when who will
more no if out so said what up its about into than them can only other new some could time these
two may then do first any my now such like our over man me even most made after also did many
pump valve pressure seal inspection operator safety manual hour month oil filter bearing motor
""".split()  # noqa: SIM905
VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *WORDS,
    *[chr(c) for c in range(33, 127) if not chr(c).isupper()],
    *[f"##{chr(c)}" for c in range(33, 127) if not chr(c).isupper()],
    *("##ing", "##ed", "##s", "##er", "é", "ü", "中", "文", "。", "ه", "ש", "😀"),
]


@pytest.fixture(scope="session")
def bert() -> TextTokenizer:
    """A WordPiece tokenizer built as BERT's is, with a small vocabulary; it truncates and pads
    as the model's own file does."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(VOCABULARY))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # type: ignore[call-arg]
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16)
    return TextTokenizer(tokenizer)


@pytest.fixture(scope="session")
def byte_level() -> TextTokenizer:
    """A byte-level BPE tokenizer, as RoBERTa's family has: spaces belong to the word after."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 4, trainer)
    return TextTokenizer(tokenizer)


@pytest.fixture(scope="session")
def data() -> Path:
    """The optional folder of real files."""
    import os

    root = Path(os.environ.get("NEXUS_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
    if not (root / "pdf").is_dir():
        pytest.skip(f"no real PDFs in {root}; set NEXUS_TEST_DATA to a folder that has them")
    return root


def pdf_of(
    pages: Sequence[str],
    *,
    title: str = "",
    outline: Sequence[tuple[str, int]] = (),
    count: int | None = None,
    trailer: str = "",
) -> bytes:
    """Write a PDF: one text per page, lines parted by newlines; `count` lies about the pages."""
    objects: dict[int, bytes] = {}
    first_page = 10
    kids = " ".join(f"{first_page + 2 * n} 0 R" for n in range(len(pages)))
    marks = 5 + first_page + 2 * len(pages)
    outlines = f"/Outlines {marks} 0 R" if outline else ""
    objects[1] = f"<< /Type /Catalog /Pages 2 0 R {outlines} >>".encode()
    stated = len(pages) if count is None else count
    objects[2] = f"<< /Type /Pages /Kids [{kids}] /Count {stated} >>".encode()
    objects[3] = (
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
    )
    if title:
        objects[4] = f"<< /Title ({title}) >>".encode("cp1252")
    for number, text in enumerate(pages):
        page, content = first_page + 2 * number, first_page + 2 * number + 1
        escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
        lines = " T* ".join(f"({line}) Tj" for line in escaped.split("\n"))
        stream = f"BT /F1 11 Tf 14 TL 50 750 Td {lines} ET".encode("cp1252")
        objects[page] = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {content} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        ).encode()
        objects[content] = b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream)
    for number, (name, page) in enumerate(outline):
        following = f"/Next {marks + number + 2} 0 R" if number + 1 < len(outline) else ""
        objects[marks + 1 + number] = (
            f"<< /Title ({name}) /Parent {marks} 0 R {following} "
            f"/Dest [{first_page + 2 * page} 0 R /Fit] >>"
        ).encode()
    if outline:
        objects[marks] = (
            f"<< /Type /Outlines /First {marks + 1} 0 R /Last {marks + len(outline)} 0 R "
            f"/Count {len(outline)} >>"
        ).encode()
    return _assembled(objects, info=bool(title), trailer=trailer)


def _assembled(objects: dict[int, bytes], *, info: bool, trailer: str) -> bytes:
    out = bytearray(b"%PDF-1.7\n")
    places: dict[int, int] = {}
    for number, body in sorted(objects.items()):
        places[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    size = max(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n" % size
    for number in range(1, size):
        if number in places:
            out += b"%010d 00000 n \n" % places[number]
        else:
            out += b"0000000000 00000 f \n"
    extra = ("/Info 4 0 R " if info else "") + trailer
    out += f"trailer\n<< /Size {size} /Root 1 0 R {extra}>>\nstartxref\n{table}\n%%EOF\n".encode()
    return bytes(out)


def docx_of(build: Callable[..., None], *, replace: dict[str, bytes] | None = None) -> bytes:
    """Write a DOCX by python-docx; `replace` puts other bytes in place of parts."""
    import docx

    document = docx.Document()
    build(document)
    buffer = io.BytesIO()
    document.save(buffer)
    if not replace:
        return buffer.getvalue()
    changed = io.BytesIO()
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            new.writestr(member.filename, replace.pop(member.filename, None) or old.read(member))
        for name, content in replace.items():
            new.writestr(name, content)
    return changed.getvalue()


@pytest.fixture(scope="session")
def pdf() -> Callable[..., bytes]:
    """The PDF writer."""
    return pdf_of


@pytest.fixture(scope="session")
def word() -> Callable[..., bytes]:
    """The DOCX writer."""
    return docx_of
