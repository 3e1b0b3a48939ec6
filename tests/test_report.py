"""The page holds everything a report says, as text and never as markup, and asks the network for nothing."""

import base64
import subprocess
import sys
from html import escape, unescape
from html.parser import HTMLParser

import pytest

from jaxlimit.claims import Claim, Panel, Remark, Report, Verdict
from jaxlimit.report import html

PNG = b"\x89PNG\r\n\x1a\n"
ATTACK = "<script>alert('1 & \"2\"')</script>"
VOID = {"meta", "img", "br", "hr", "link", "input"}


def claim(verdict: Verdict, mark: str = "") -> Claim:
    fields = ("name", "statement", "source", "expected", "observed", "error")
    values = {field: f"{field} {verdict.value} λ < 1 & a_{field}{mark}" for field in fields}
    return Claim(**values, verdict=verdict, reason=f"reason {verdict.value} x > y{mark}")


def report(mark: str = "", **configuration: object) -> Report:
    claims = tuple(claim(v, mark) for v in (Verdict.UNDECIDED, Verdict.HOLDS, Verdict.HOLDS, Verdict.VIOLATED))
    panels = tuple(Panel(f"{name}{mark}", f"Caption of {name}{mark}", lambda ax: ax) for name in ("zeta", "alpha"))
    return Report(f"Title{mark}", f"Source{mark}", claims, panels, {}, configuration)


def images(of: Report) -> dict[str, bytes]:
    return {panel.name: PNG + panel.name.encode() for panel in of.panels}


class Reader(HTMLParser):
    """Elements, attributes and text of a page; fails on tags that do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(of: Report) -> str:
    return html(of, images(of))


def test_remarks_stand_apart_from_claims_and_are_not_counted():
    remark = Remark("a <b>", "found & seen", "λ < 1", "error <", f"why {ATTACK}")
    subject = Report("Title", "Source", (claim(Verdict.HOLDS),), (), {}, {}, (remark,))
    page = page_of(subject)
    read = Reader(page)
    assert all(value in read.text for value in remark.as_dict().values())
    assert read.text.index("Claims") < read.text.index("Beyond the theorem") < read.text.index("Configuration")
    assert "1 claim: " in read.text
    assert not read.all("script")
    assert "Beyond the theorem" not in page_of(report())


def test_every_text_of_every_claim_is_on_the_page():
    subject = report()
    read = Reader(page_of(subject))
    for item in subject.claims:
        for value in item.as_dict().values():
            assert value in read.text
    assert subject.title in read.text
    assert subject.source in read.text


def test_planted_markup_stays_text_wherever_it_is_planted():
    subject = report(ATTACK, **{f"key{ATTACK}": f"value{ATTACK}", "nested": {f"inner{ATTACK}": [ATTACK]}})
    page = page_of(subject)
    read = Reader(page)
    assert "<script" not in page
    assert not read.all("script")
    assert escape(ATTACK) in page
    planted = [value for item in subject.claims for key, value in item.as_dict().items() if key != "verdict"]
    assert all(value in read.text for value in planted)
    assert f"value{ATTACK}" in read.text
    assert f"nested.inner{ATTACK}" in read.text
    assert all(ATTACK in (image["alt"] or "") for image in read.all("img"))


def test_the_summary_counts_the_verdicts():
    text = Reader(page_of(report())).text
    assert "4 claims: 2 HOLD, 1 VIOLATED, 1 UNDECIDED" in text
    single = Report("T", "S", (claim(Verdict.HOLDS),), (), {}, {})
    assert "1 claim: 1 HOLDS, 0 VIOLATED, 0 UNDECIDED" in Reader(html(single, {})).text


def test_panels_come_in_order_each_with_its_own_image_and_caption():
    subject = report()
    page = page_of(subject)
    read = Reader(page)
    for image, panel in zip(read.all("img"), subject.panels, strict=True):
        kind, data = (image["src"] or "").split(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data) == PNG + panel.name.encode()
        assert panel.caption in (image["alt"] or "")
    assert page.index("Figure 1. Caption of zeta") < page.index("Figure 2. Caption of alpha")


def test_nothing_is_fetched_from_anywhere():
    page = page_of(report(address="https://example.org/x"))
    read = Reader(page)
    for _, attributes in read.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert not read.all("link")
    assert "@import" not in page
    assert "url(" not in page
    policy = [meta["content"] for meta in read.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert len(policy) == 1
    assert "default-src 'none'" in (policy[0] or "")


def test_tables_have_headers_with_scope_and_the_page_has_a_language():
    read = Reader(page_of(report(replicas=8)))
    assert read.all("html") == [{"lang": "en-GB"}]
    headers = read.all("th")
    assert headers
    assert all(header.get("scope") in ("col", "row") for header in headers)
    assert sum(header["scope"] == "row" for header in headers) >= len(report().claims) + 1


def test_the_resolved_configuration_and_its_versions_are_shown():
    recorded = report(widths=(64, 256), data={"name": "digits", "points": 20}, versions={"jax": "9.8.7"})
    text = Reader(page_of(recorded)).text
    for piece in ("widths", "64, 256", "data.name", "digits", "data.points", "20", "9.8.7"):
        assert piece in text
    assert "wrote this page" not in text
    unrecorded = Reader(page_of(report())).text
    assert "wrote this page" in unrecorded
    assert sys.version.split()[0] in unrecorded


def test_the_same_report_gives_the_same_page():
    assert page_of(report(replicas=8)) == page_of(report(replicas=8))
    assert unescape(page_of(report())).count("Title") == 2


def test_a_panel_without_its_image_is_refused():
    subject = report()
    with pytest.raises(ValueError, match="Argument `images` must hold one image for every panel"):
        html(subject, {"zeta": PNG})
    with pytest.raises(ValueError, match="Argument `images` must hold PNG files"):
        html(subject, {"zeta": PNG, "alpha": b"GIF89a"})


def test_the_page_is_written_without_matplotlib():
    script = "import sys, jaxlimit.report; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
