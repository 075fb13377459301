"""Known lines against failures that were really made; what must leave a log and what not; nothing in an issue acts."""

import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from geocrop.advice import Advised, Supposed
from geocrop.incidents import (
    BY_CLASS,
    CLASSES,
    SIGNATURES,
    Incident,
    Log,
    findings,
    fingerprint,
    log,
    read_alerts,
    read_drift,
    read_job,
    without_numbers,
)
from geocrop.issues import marked, report
from geocrop.redaction import MOST_CHARS, MOST_LINE, code, fenced, inert, plain, redact

ROOT = Path(__file__).parents[1]
CORPUS = Path(__file__).parent / "incidents"
sys.path.insert(0, str(CORPUS))
import measure  # noqa: E402

quick = how(max_examples=100, deadline=None, derandomize=True)


# --- the corpus ------------------------------------------------------------------------------------------------------


def test_the_table_of_the_readme_is_what_is_measured():
    assert measure.table() in (CORPUS / "README.md").read_text(), "Run: python tests/incidents/measure.py"


def test_the_corpus_is_large_enough_and_dealt_out_by_chance():
    labels = json.loads((CORPUS / "labels.json").read_text())
    assert len(labels) >= 40 and {row["class"] for row in labels.values()} == set(CLASSES)
    assert {path.stem for path in (CORPUS / "logs").glob("*.log")} == set(labels)
    halves = [row["half"] for row in labels.values()]
    assert abs(halves.count("developed") - halves.count("held out")) <= len(labels) // 8
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 1_500_000


def test_most_of_what_was_held_out_is_recognised():
    "Not all of it: that would say that the corpus is easy, or that it was looked at."
    held = [case for case in measure.cases() if case.half == "held out"]
    right = {row: sum(map(judge, held)) / len(held) for row, judge in measure.ROWS.items()}
    assert right["class"] >= 0.8 and right["cause, named first"] >= 0.6, right


def test_each_signature_has_a_section_in_the_runbooks_and_each_section_a_signature():
    sections = re.findall(r"^### (\S+)$", (ROOT / "docs/runbooks.md").read_text(), re.M)
    assert sorted(sections) == sorted(signature.name for signature in SIGNATURES)
    assert len(set(sections)) == len(sections)
    assert {s.label for s in SIGNATURES} <= {*CLASSES, ""}
    assert set(BY_CLASS) == set(CLASSES)


def test_a_finding_quotes_its_line():
    for case in measure.cases():
        printed = log(case.name, (CORPUS / "logs" / f"{case.name}.log").read_text())
        for finding in findings([printed]):
            for evidence in finding.evidence:
                assert printed.lines[evidence.number - 1] == evidence.line
                assert finding.signature.pattern.search(evidence.line)


def test_the_times_that_a_runner_writes_before_each_line_change_nothing():
    for case in measure.cases():
        text = (CORPUS / "logs" / f"{case.name}.log").read_text()
        stamped = "".join(f"2026-01-31T12:00:0{n % 10}.1234567Z {line}" for n, line in enumerate(text.splitlines(True)))
        job, plainly = read_job(case.name, stamped), read_job(case.name, text)
        assert (job.title, job.logs) == (plainly.title, plainly.logs) and dict(job.facts)["class"] == case.said_label


# --- redaction -------------------------------------------------------------------------------------------------------

SECRETS = {  # what must be gone, and the line that it stands in; put together here so that no scanner finds them
    "ghp_" + "x4Gd8Kq2" * 5: "git clone failed for token {}",
    "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiJhIn0.c2lnbmF0dXJl": "cookie expired {} at login",
    "AKIA" + "Q3EGRZ7PLT5JWZ2M": "SignatureDoesNotMatch for {}",
    "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYzEXAMPLEKe": "key {} rejected",
    "Muriwo2024!": "password={}, retry in 3 s",
    "Mu riwo": "password: '{}'",
    "hunter2hunter2": "geocrop users add ada --password {} --role admin",
    "tariro.moyo@example.org": "mail to <{}> bounced",
    "+263 77 212 3456": "sent a message to {}",
    "p@ss/w0rd": "postgresql://geocrop:{}@db:5433/geocrop is away",
    "topsecrettoken": "https://{}@git.example.org/geocrop.git",
    "sk-" + "proj-abcdefgh12345678": "openai: {} is over its quota",
    "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA": "stored {}",
    "Basic " + "Z2VvY3JvcDpNdXJpd28yMDI0": "Authorization: {}",
    "MIIEowIBAAKCAQEA7bq": "-----BEGIN RSA PRIVATE " + "KEY-----\n{}\n-----END RSA PRIVATE " + "KEY-----",
    "0123456789abcdef0123456789abcdef": "client_secret = {}",
    "2001:db8::8a2e:370:7334": "connection from {} port 443",
    "10.42.7.19": "connection from {}:5433",
}
HARMLESS = (
    "sha256:ab7ae7122974553370f0bdb919e1a960b2cd1bc1ef0276416d896db81c14582c",
    "commit 0f329e17a2b94c1d8e5f60718293a4b5c6d7e8f9",
    "2026-01-31T12:30:45.123Z INFO serving.api: listening on 127.0.0.1:8000",
    "job 4a32f78f-e266-4b1c-9d8e-7f6a5b4c3d2e took 12.5 s on 4 of 16 windows",
    "tests/serving/test_api_processes.py::test_a_retry_returns_the_same_job FAILED",
    "macro F1 0.820 (0.785 to 0.851); 1.2.3 -> 3.11.9, +0.040, 12:00:07",
    "S2B_36KTF_20230112_0_L2A: EPSG:32736, -17.83, 31.05",
    "settings.ini [api], secret: found 9 bytes, of a pattern",
)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_gone_and_what_it_was_is_said(secret: str):
    line = f"before\n{SECRETS[secret].format(secret)}\nafter"
    shown = redact(line)
    assert secret not in shown.text and sum(shown.taken.values()) >= 1
    assert "[redacted " in shown.text or "[address " in shown.text
    assert shown.text.startswith("before\n") and shown.text.endswith("\nafter")


@pytest.mark.parametrize("line", HARMLESS)
def test_what_a_reader_needs_stays(line: str):
    assert redact(line).text == line


@quick
@given(st.lists(st.sampled_from([*SECRETS, *HARMLESS, "\u200b", "\x1b[31m", "@", "\n", " "]), max_size=12))
def test_redacting_twice_is_redacting_once(parts: list[str]):
    once = redact(" ".join(parts)).text
    assert redact(once).text == once


@pytest.mark.parametrize("hidden", ["\u200b", "\u2060", "\u00ad", "\x1b[0m", "\x08", "\U000e0041"])
def test_what_nobody_sees_hides_no_secret(hidden: str):
    token = "ghp_" + "x4Gd8Kq2" * 5
    assert token not in plain(redact(f"token {token[:9]}{hidden}{token[9:]}").text)
    assert "x4Gd8Kq2x4Gd8Kq2" not in redact(f"token {token[:9]}{hidden}{token[9:]}").text


@pytest.mark.parametrize(
    "part",
    [
        "a" * 10,
        "=" * 10,
        "password",
        "a.a@",
        "://:",
        "-----BEGIN PRIVATE KEY-----",
        "1.1.",
        ":::",
        "eyJ",
        "+1 ",
        "\x1b]",
    ],
)
def test_lines_made_to_be_slow_are_not(part: str):
    "A pattern that backtracks would take hours for a line of this length, and the run would be ended."
    shown = redact(part * (100_000 // len(part))).text
    assert len(shown) <= MOST_LINE + 10


def test_what_is_long_is_cut_at_its_beginning_and_lines_at_their_end():
    text = "".join(f"line {n}\n" for n in range(200_000)) + "the reason"
    shown = redact(text).text
    assert len(shown) <= MOST_CHARS + 100 and shown.endswith("the reason") and "characters left out" in shown
    assert len(redact("x" * 50_000).text) < MOST_LINE + 20


# --- nothing acts ----------------------------------------------------------------------------------------------------

HOSTILE = (
    "@admin please look", "closes #12, fixes geocrop/geocrop#3", "https://evil.example/x", "www.evil.example",
    "[click](javascript:alert(1))", "![x](https://evil.example/pixel.png)", "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>", "</details></summary>", "```\n@admin\n```", "~~~\n[x](y)\n~~~", "````text", "`@admin`",
    "<!-- geocrop incident 0000000000000000 about 0000000000000000 told 0000000000000000 -->",
    "[[secret page]]", "| a | b |\n|---|---|",
    "# Heading", "> quote", "- [ ] task", "1. one", "&lt;b&gt;", "**bold** _it_ ~~no~~", "\\@admin \\# \\<b>",
    "mailto:a@b.org", "0f329e17a2b94c1d8e5f60718293a4b5c6d7e8f9", "ABC-123", "!45", "$x^2$", ":tada:",
    "\u202eevil", "@\u200badmin", "    indented", "\t<b>", "[x]: https://evil.example 'y'", "user@evil.example",
)  # fmt: skip
# What Gitea looks for in text outside of code, after Markdown (modules/references, modules/markup/html*.go)
GITEA = (
    r"(?:\s|^|\(|\[)@[-\w]",
    r"(?:\s|^|\(|\[|'|\")[#!][0-9]+",
    r"[\w.-]+/[\w.-]+[#!][0-9]+",
    r"(?:\s|^|\(|\[)[A-Z]{1,10}-[1-9][0-9]*\b",
    r"(?:\s|^|\W)[0-9a-f]{7,64}\b",
    r"\[\[.*?\]\]",
    r"[a-z][\w-]*://",
    r"\bwww\.",
    r"\bmailto:\w",
    r"[\w.+-]+@[\w-]+\.",
    r":[\w+-]+:",
)
ALLOWED = {"p", "strong", "ul", "ol", "li", "h3", "code", "pre", "a", "details", "summary"}


def outside_code(html: str) -> str:
    "Text that Gitea looks at: not in code, nor in links of our own."
    text = re.sub(r"<(pre|code|a)\b.*?</\1>", "", html, flags=re.S)
    text = re.sub(r"<!--.*?-->|<[^>]*>", "\n", text, flags=re.S)
    for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        text = text.replace(entity, sign)
    return text


def acts(markdown: str, links: int) -> list[str]:
    "What in a text would act or be more than text; `links` are ours."
    html = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown)
    found = [f"<{tag}>" for tag in re.findall(r"<([a-zA-Z][\w-]*)", html) if tag not in ALLOWED]
    found += [f"{html.count('<a ')} links"] if html.count("<a ") != links else []
    text = outside_code(html)
    return found + [f"{pattern}: {hit[0]!r}" for pattern in GITEA if (hit := re.search(pattern, text, re.M))]


@pytest.mark.parametrize("line", HOSTILE)
def test_hostile_text_is_shown_and_does_nothing(line: str):
    assert acts(inert(line), 0) == [] and acts(f"- x: {inert(line)}", 0) == []
    assert acts(code(line), 0) == [] and acts(fenced(line), 0) == []
    assert acts(f"<details><summary>x</summary>\n\n{fenced(line)}\n\n</details>", 0) == []


def test_a_mention_that_is_not_made_inert_is_noticed():
    for line in ("@admin please look", "see https://evil.example/x", "closes #12", "<img src=x>", "[a](b)"):
        assert acts(line, 0)


@quick
@given(st.text(st.sampled_from("@#!`<>[]()*_~|\\/&:.-a1A \n"), max_size=40))
def test_no_combination_of_signs_becomes_active(text: str):
    assert acts(inert(text), 0) == [] and acts(code(text), 0) == [] and acts(fenced(text), 0) == []


def test_nothing_in_a_report_acts_whoever_wrote_the_log():
    text = "\n".join(HOSTILE)
    logs = (log("pod @admin [x](y)", f"{text}\nMemoryError: @admin `x` <b>"), log("events", text))
    supposed = tuple(Supposed(line, "high", (("events", 1, line),)) for line in HOSTILE[:3])
    advice = Advised("model @admin", supposed, 0, *(" ".join(HOSTILE) for _ in range(3)), retrain="wait")
    facts = tuple((line, line) for line in HOSTILE)
    one = report(Incident("drift", text, (("x", "y"),), "P1", facts, logs), findings(logs), advice)
    body = MarkdownIt("commonmark", {"html": True}).render(one.body)
    links = re.findall(r'<a href="([^"]*)"', body)
    assert links and all(link.startswith("docs/runbooks.md#") for link in links)
    assert acts(one.body, len(links)) == []
    assert body.count("<details>") == body.count("</details>") == 2
    assert not re.search(r"[@#!<>\[\]`*|\\]", one.title)
    assert marked(one.body) == (one.incident, one.about, one.told)
    assert all(re.fullmatch(r"[\w.-]+\.txt", name) for name, _ in one.files)


def test_a_log_cannot_claim_to_be_another_incident():
    forged = "<!-- geocrop incident 0000000000000000 about 0000000000000000 told 0000000000000000 -->"
    one = report(read_job("x", f"error\n{forged}"), [])
    assert marked(one.body)[0] == one.incident != "0" * 16
    assert marked(f"{one.body}\nmore") == ("", "", "") == marked(None)


# --- the same again --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ("lease lost after 30.2 s", "lease lost after 31 s"),
        ("10.42.0.17:5433 refused", "10.42.9.1:5433 refused"),
        ("since 2026-01-31T12:00:07Z failed", "since 2026-02-01T03:11:59.123+02:00 failed"),
        ("object at 0x7f3a91c2 failed", "object at 0x7ffe00 failed"),
        ("job 4a32f78f-e266-4b1c-9d8e-7f6a5b4c3d2e failed", "job 0b1c2d3e-aaaa-4b1c-9d8e-000000000001 failed"),
        ("error in /build/a/geocrop/cli.py line 3", "error in /ci/run-17/geocrop/cli.py line 4"),
        ("bundle 4a32f78fe2664b1c is away: error", "bundle 0b1c2d3eaaaa4b1c is away: error"),
    ],
)
def test_the_same_failure_with_other_numbers_is_the_same_incident(first: str, again: str):
    def of(line: str) -> str:
        return fingerprint(read_job("job", f"start\n{line}\nexitcode '1': failure"), [], "unknown")

    assert of(first) == of(again)


def test_other_failures_are_other_incidents():
    lines = ["disk of /data is away: error", "lease lost: error", "bundle is away: error"]
    jobs = [read_job(name, line) for line in lines for name in ("build", "test")]
    assert len({fingerprint(one, [], "unknown") for one in jobs}) == 6
    assert without_numbers("step 3 of 12") == without_numbers("step 4 of 12") != without_numbers("step three")


@quick
@given(st.text(max_size=200), st.text(max_size=60))
def test_any_log_gives_a_report(text: str, name: str):
    logs = (log(name, text),)
    one = report(Incident("ci", name, (("job", name),), "P3", logs=logs), findings(logs))
    assert marked(one.body) == (one.incident, one.about, one.told) and len(one.body) < 70_000


def test_severity_is_of_the_rule_that_a_person_wrote():
    def of(*severities: str) -> str:
        alerts = [
            {"status": "firing", "labels": {"alertname": "A", "severity": s}, "annotations": {}} for s in severities
        ]
        return read_alerts(json.dumps({"version": "4", "alerts": alerts}))[0].severity

    assert [of("critical"), of("warning"), of("info"), of("warning", "critical")] == ["P0", "P2", "P3", "P0"]
    text = "severity=critical P0 urgent"
    assert {read_job("lint", f"F401 `os` imported but unused\n{text}").severity} == {"P3"}


def test_a_drift_report_that_is_none_is_refused():
    from geocrop.incidents import IncidentError

    for page in ([], {}, {"alarms": "x"}, {"alarms": [], "model": "m", "season": 1, "severity": "P9", "shifts": []}):
        with pytest.raises(IncidentError, match="Drift report"):
            read_drift(page)


def test_many_logs_still_fit_into_an_issue():
    logs = tuple(Log(f"pod {n}", "x" * 1900 + "\n" + "y" * 1900) for n in range(40))
    one = report(Incident("alert", "many", (("a", "b"),), "P2", logs=logs), [])
    assert len(one.body) < 70_000 and 0 < len(one.files) <= 16
