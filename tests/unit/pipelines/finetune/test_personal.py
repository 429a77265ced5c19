"""Personal data and credentials: found by form and checksum; knowledge is left alone."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_pipelines.finetune.personal import KINDS, findings, redact


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Write to jo.doe+x@mail.example.org, please.", "Write to [email], please."),
        ("Call +49 30 901820 or 030 901820.", "Call [phone] or [phone]."),
        ("Call +1 (212) 555-0123 now", "Call [phone] now"),
        ("IBAN DE89 3704 0044 0532 0130 00 BIC COBADEFFXXX", "IBAN [iban] BIC COBADEFFXXX"),
        ("GB82WEST12345698765432.", "[iban]."),
        ("Card 4111 1111 1111 1111, thanks", "Card [card], thanks"),
        ("5500-0000-0000-0004", "[card]"),
        ("key AKIAIOSFODNN7EXAMPLE in use", "key [key] in use"),
        ("token ghp_" + "a1B2" * 9, "token [key]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- end", "[key] end"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-123", "[key]"),
    ],
)
def test_what_is_personal_is_redacted(text: str, redacted: str) -> None:
    assert redact(text)[0] == redacted


@pytest.mark.parametrize(
    "text",
    [
        "Pump P-17 delivers 12.5 m3/h at 4 bar; part 4711-0815-22.",
        "Serial 4111 1111 1111 1112 is no card, nor 0000 0000 0000 0000.",
        "DE89 3704 0044 0532 0130 01 has a wrong checksum.",
        "On 2026-05-01T08:00:00Z, 1,000,000 and 3.14159265358979.",
        "Use @mentions, a@b, user@host and 192.168.100.200:8080.",
        "ISO 13616 and DIN EN 10204 3.1 apply, 0.5 to 08 hours, 2024 2025 2026.",
        "From 10 20 30 40 to 50 60 70 80 litres.",
    ],
)
def test_knowledge_keeps_its_digits(text: str) -> None:
    assert redact(text) == (text, ())


PIECES = st.sampled_from(
    ["jo@example.org", "+49 30 901820", "4111 1111 1111 1111", "DE89370400440532013000", " ", "x",
     "0", "@", "+", ".", "AKIAIOSFODNN7EXAMPLE", "]", "[email]", "-"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=8).map("".join) | st.text(max_size=60))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once, kinds = redact(text)
    assert redact(once) == (once, ())
    assert list(findings(once)) == []
    assert set(kinds) <= set(KINDS)
    assert bool(kinds) == (once != text)


@pytest.mark.parametrize(
    "text",
    ["A" * 60_000, "AA11" * 15_000, "AA11 " * 12_000, "1 " * 30_000, "a@" * 30_000, "+1 " * 20_000,
     "a." * 30_000, "-----BEGIN A" * 5_000, "eyJ" * 20_000, "(0" * 30_000,
     "a@b.cc " * 36_000, "-eyJaaaaaaaa" * 21_000, "+4930901820" * 5_800],
    ids=lambda text: text[:6],
)  # fmt: skip
def test_hostile_text_takes_no_time_to_speak_of(text: str) -> None:
    began = time.process_time()
    redact(text)
    assert time.process_time() - began < 2


def test_of_text_in_which_there_is_ever_more_to_find_nothing_is_kept() -> None:
    text, kinds = redact("+4930901820" * 40)
    assert text == "[phone]"
    assert set(kinds) == {"phone"}
    assert redact("+4930901820+4930901820 stays")[0] == "[phone][phone] stays"
