"""A report as one self-contained HTML page: no network, no script, no file beside it."""

import base64
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from jaxlimit._arguments import require
from jaxlimit._versions import versions as installed
from jaxlimit.claims import Claim, Panel, Remark, Report, Verdict

_VERBS = {Verdict.HOLDS: "HOLD", Verdict.VIOLATED: "VIOLATED", Verdict.UNDECIDED: "UNDECIDED"}
_PNG = b"\x89PNG\r\n\x1a\n"

# The policy forbids the browser every request, should a text ever escape its escaping.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --quiet: #595959; --page: #fff; --line: #d5d5d5;
  --holds: #00634a; --violated: #a33b00; --undecided: #5a5a5a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --quiet: #a9a9a9; --page: #16181b; --line: #3b3f45;
    --holds: #4fd1a5; --violated: #ff9a5c; --undecided: #b5b5b5; } }
*, ::before { box-sizing: border-box; }
body { margin: 2rem auto; max-width: 68rem; padding: 0 1.2rem; color: var(--ink); background: var(--page);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
.quiet { color: var(--quiet); font-size: .87rem; margin: .25rem 0 0; }
.summary { font-size: 1.05rem; margin: 1.2rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .55rem .8rem .55rem 0; border-top: 1px solid var(--line);
  overflow-wrap: anywhere; font-weight: normal; min-width: 6.5rem; }
thead th { border-top: 0; color: var(--quiet); font-size: .84rem; }
.claims tbody th { min-width: 17rem; } .claims td:last-child { min-width: 14rem; }
.claims tbody th b { display: block; }
.settings { width: auto; min-width: 20rem; }
.settings th { padding-right: 2.5rem; }
.settings td, .settings tbody th { font: .86rem/1.45 ui-monospace, monospace; padding-block: .25rem; }
.verdict { font-weight: 700; white-space: nowrap; }
.verdict::before { content: ""; display: inline-block; width: .65em; height: .65em; margin-right: .45em;
  background: currentColor; }
.HOLDS { color: var(--holds); } .HOLDS::before { border-radius: 50%; }
.VIOLATED { color: var(--violated); }
.VIOLATED::before { width: .8em; height: .8em; clip-path: polygon(50% 0, 100% 50%, 50% 100%, 0 50%); }
.UNDECIDED { color: var(--undecided); } .UNDECIDED::before { background: none; border: 2px solid currentColor; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1.6rem; }
figure { margin: 0; }
figure img { display: block; width: 100%; height: auto; background: #fff; border: 1px solid var(--line); }
figcaption { font-size: .9rem; margin-top: .45rem; }
@media print { body { margin: 0; max-width: none; } figure, tr { break-inside: avoid; } }
"""


def html(report: Report, images: Mapping[str, bytes]) -> str:
    """The page of a report: summary, tables of claims and of remarks, every figure, configuration and versions.

    `images` holds one PNG per panel under the panel's name (`plots.png_bytes` makes it). All texts are
    escaped, images are embedded, and the page asks the network for nothing. Versions are those that the
    configuration records under "versions", otherwise those of the packages that write the page. Raises
    ``ValueError`` if a panel has no image or an image is not a PNG.

        >>> import jaxlimit as jl
        >>> page = jl.report.html(jl.claims.Report("Title", "Source", (), (), {}, {"replicas": 8}), {})
        >>> page.startswith("<!doctype html>"), "://" in page
        (True, False)
    """
    missing = [panel.name for panel in report.panels if panel.name not in images]
    require(not missing, "images", "hold one image for every panel", f"it has none for {missing}")
    settings = {str(key): value for key, value in report.configuration.items()}
    versions = settings.pop("versions", None)
    body = [
        f"<h1>{escape(report.title)}</h1>",
        f'<p class="quiet">{escape(report.source)}</p>',
        f'<p class="summary">{_summary(report)}</p>',
        "<h2>Claims</h2>",
        _claims(report.claims),
        *([] if not report.remarks else ["<h2>Beyond the theorem</h2>", _remarks(report.remarks)]),
        *([] if not report.panels else ["<h2>Figures</h2>", _figures(report.panels, images)]),
        "<h2>Configuration</h2>",
        _settings("Setting", _flat(settings)),
        "<h2>Versions</h2>" if versions is not None else "<h2>Versions of the packages that wrote this page</h2>",
        _settings("Package", _flat(installed() if versions is None else {"": versions})),
    ]
    head = [
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(report.title)}</title>",
        f"<style>{_STYLE}</style>",
    ]
    lines = ["<!doctype html>", '<html lang="en-GB">', "<head>", *head, "</head>", "<body>", "<main>", *body]
    return "\n".join([*lines, "</main>", "</body>", "</html>", ""])


def _summary(report: Report) -> str:
    counts = [(report.count(verdict), verdict) for verdict in Verdict]
    parts = [f'<span class="verdict {v.value}">{n} {_verb(n, v)}</span>' for n, v in counts]
    total = len(report.claims)
    return f"{total} claim{'' if total == 1 else 's'}: " + ", ".join(parts)


def _verb(count: int, verdict: Verdict) -> str:
    return verdict.value if count == 1 else _VERBS[verdict]


def _claims(claims: Iterable[Claim]) -> str:
    columns = ("Verdict", "Claim", "Expected", "Observed, with its error", "Reason")
    header = "".join(f'<th scope="col">{name}</th>' for name in columns)
    rows = "\n".join(_claim(claim) for claim in claims)
    table = f'<table class="claims">\n<thead><tr>{header}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>'
    return f'<div class="wide" role="region" aria-label="Claims" tabindex="0">{table}</div>'


def _claim(claim: Claim) -> str:
    text = {key: escape(str(value)) for key, value in claim.as_dict().items()}
    source = f'<p class="quiet">{text["source"]}</p>' if text["source"] else ""
    error = f'<p class="quiet">{text["error"]}</p>' if text["error"] else ""
    return (
        f'<tr><td><span class="verdict {text["verdict"]}">{text["verdict"]}</span></td>'
        f'<th scope="row"><b>{text["name"]}</b>{text["statement"]}{source}</th>'
        f"<td>{text['expected']}</td><td>{text['observed']}{error}</td><td>{text['reason']}</td></tr>"
    )


def _remarks(remarks: Iterable[Remark]) -> str:
    columns = ("Case", "Found", "Observed, with its error", "Reason")
    header = "".join(f'<th scope="col">{name}</th>' for name in columns)
    rows = "\n".join(_remark(remark) for remark in remarks)
    table = f'<table class="claims">\n<thead><tr>{header}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>'
    return (
        '<p class="quiet">The theorem says nothing on these cases, so none of them is a claim.</p>\n'
        f'<div class="wide" role="region" aria-label="Remarks" tabindex="0">{table}</div>'
    )


def _remark(remark: Remark) -> str:
    text = {key: escape(str(value)) for key, value in remark.as_dict().items()}
    error = f'<p class="quiet">{text["error"]}</p>' if text["error"] else ""
    return (
        f'<tr><th scope="row"><b>{text["name"]}</b></th><td>{text["found"]}</td>'
        f"<td>{text['observed']}{error}</td><td>{text['reason']}</td></tr>"
    )


def _figures(panels: Iterable[Panel], images: Mapping[str, bytes]) -> str:
    return (
        '<div class="figures">\n'
        + "\n".join(_figure(i, p, images[p.name]) for i, p in enumerate(panels, 1))
        + "\n</div>"
    )


def _figure(position: int, panel: Panel, image: bytes) -> str:
    require(image.startswith(_PNG), "images", "hold PNG files", f"{panel.name!r} is something else")
    data = base64.b64encode(image).decode("ascii")
    name, caption = escape(panel.name), escape(panel.caption)
    return (
        f'<figure id="figure-{position}"><img src="data:image/png;base64,{data}" alt="{name}: {caption}">'
        f"<figcaption>Figure {position}. {caption}</figcaption></figure>"
    )


def _settings(what: str, rows: Iterable[tuple[str, str]]) -> str:
    lines = "\n".join(f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>' for k, v in rows)
    header = f'<thead><tr><th scope="col">{what}</th><th scope="col">Value</th></tr></thead>'
    return f'<div class="wide"><table class="settings">\n{header}\n<tbody>\n{lines}\n</tbody>\n</table></div>'


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as rows `outer.inner`, in the order given."""
    rows: list[tuple[str, str]] = []
    for key, value in settings.items():
        name = f"{prefix}.{key}".strip(".")
        if isinstance(value, Mapping) and value:
            rows.extend(_flat(value, name))
        elif isinstance(value, list | tuple):
            rows.append((name, ", ".join(str(item) for item in value)))
        else:
            rows.append((name, str(value)))
    return rows
