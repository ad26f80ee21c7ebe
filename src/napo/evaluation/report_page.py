"""The parts of a report's page: text in, HTML out.

Path    report -> [evaluation.report_page] -> report.html
Takes   plain text, tables of text, PNG bytes
Gives   HTML, every text of it escaped here and nowhere else; `page` puts the parts together

One file without scripts and without anything fetched. Light or dark is the reader's own setting, and on a phone wide
tables scroll inside themselves.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from napo.evaluation.plot_style import DARK, LIGHT, Theme

_WORDS = {"ok": "good", "WARN": "odd", "FAIL": "bad"}
_VERDICTS = {
    "Held": "good",
    "Not held": "plain",
    "Undecided": "odd",
    "Direction held, size not": "odd",
    "No verdict": "plain",
}

_CSS = """
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); 
  font: 1rem/1.55 system-ui, "Segoe UI", Roboto, sans-serif }
main { max-width: 72rem; margin: 0 auto; padding: 2rem 1.25rem 4rem }
h1, h2, h3, p, li, dd, summary { overflow-wrap: anywhere }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 1.25rem }
h2 { font-size: 1.25rem; margin: 3rem 0 1rem; padding-top: 1rem; border-top: 1px solid var(--grid) }
h3 { font-size: 1rem; margin: 0 0 .4rem }
p, li { max-width: 46rem }
.verdicts { margin: 0; padding: .25rem 0 .25rem 1.25rem; border-left: .25rem solid var(--m5); list-style: none }
.verdicts li { font-size: 1.05rem; margin: .5rem 0 }
.alarm { border: 2px solid var(--bad); border-radius: .4rem; padding: .6rem 1rem; max-width: 46rem }
.heading { font-size: .9rem; color: var(--muted); margin: 0 0 .6rem; max-width: none }
.notes { font-size: .9rem; color: var(--muted); padding-left: 1.1rem; margin: .75rem 0 1.75rem }
.lead { margin: 0 0 .9rem }
.checks + details { margin-top: .75rem }
.checks { list-style: none; padding: 0; margin: 0; font-size: .9rem }
.checks li { display: flex; margin: .55rem 0; max-width: none }
.checks li > span { flex: none; width: 3.2rem }
.figures { margin: 0; color: var(--muted); font-size: .92em; max-width: 60rem; font-variant-numeric: tabular-nums }
.good { color: var(--m4) } .odd { color: var(--odd) } .bad { color: var(--bad) }
.good, .odd, .bad, .plain { font-weight: 700; margin-right: .5rem }
.plain { color: var(--muted) }
.scroll { overflow-x: auto; margin: 0 0 1.5rem }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--m3); outline-offset: 2px }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
th, td { padding: .38rem .65rem; text-align: right; border-bottom: 1px solid var(--grid); vertical-align: baseline }
thead th { color: var(--muted); font-weight: 600; vertical-align: bottom; max-width: 13rem }
th:first-child { text-align: left; padding-left: 0 }
tbody th { font-weight: 600; position: sticky; left: 0; background: var(--paper); white-space: nowrap }
th[rowspan] { border-bottom: 0; white-space: normal; width: 13rem }
.grouped thead th:nth-child(2) { text-align: left }
tbody tr:last-child > * { border-bottom: 0 }
tbody + tbody tr:first-child > * { border-top: 1px solid var(--muted) }
td { white-space: nowrap }
td.text { text-align: left; white-space: normal }
.interval { color: var(--muted); font-size: .88em; font-weight: 400 }
section > h3 { margin-top: 1.75rem }
thead .method { justify-content: flex-end }
.method { display: flex; gap: .5rem; align-items: baseline }
.swatch { flex: none; width: .7rem; height: .7rem; border-radius: 50% }
.side { display: grid; gap: 2.25rem 2.5rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)) }
.facts { display: grid; gap: 1.75rem 3rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), max-content)) }
.side > .notes { margin-top: 0 }
a { color: var(--m3) }
.claims td.text { min-width: 9rem }
.claims thead th { text-align: left }
.claims td.text:nth-child(2), .claims td.text:nth-child(4) { min-width: 14rem }
.claims th:first-child { min-width: 6.5rem }
.claims small { display: block; font-size: .88em; color: var(--muted) }
section:target h2 { border-top-color: var(--m5) }
figure { margin: 0 }
figcaption { font-size: .9rem; color: var(--muted); margin-bottom: .6rem; max-width: 34rem }
figcaption h3 { color: var(--ink) }
img { display: block; width: 100%; max-width: 34rem; height: auto }
dl { margin: 0; display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .2rem 1rem; font-size: .9rem }
dt { color: var(--muted) }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums }
pre { background: var(--shade); padding: .8rem 1rem; border-radius: .4rem; overflow-x: auto; font-size: .85rem }
pre.wrap { white-space: pre-wrap; overflow-wrap: anywhere }
details { margin-bottom: 1rem }
summary { cursor: pointer; padding: .3rem 0 }
@media (max-width: 40rem) {
  main { padding: 1.25rem 1rem 3rem }
  h1 { font-size: 1.4rem }
  th, td { padding: .35rem .55rem }
  .grouped th, .grouped td { padding: .35rem .35rem; font-size: .84rem }
  tbody th { max-width: 8.5rem; white-space: normal }
  .by-group tbody th { min-width: 7rem }
  .claims, .claims tbody, .claims tr, .claims tbody th, .claims td { display: block }
  .claims thead { display: none }
  .claims tr { padding: .6rem 0; border-bottom: 1px solid var(--grid) }
  .claims tbody tr th, .claims tbody tr td { border: 0; padding: .1rem 0; max-width: none; min-width: 0 }
  .claims td:last-child::before { content: "paper: "; color: var(--muted) }
}
@media print { .scroll { overflow: visible } }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """The whole file. parts: HTML from the functions below."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{text(title)}</title>
<style>
:root {{ {_colours(LIGHT, shade="#f4f5f7", bad="#b3261e", odd="#8a5a00")} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_colours(DARK, shade="#20242a", bad="#ff8a80", odd="#f2cf5b")} }} }}
{_CSS.strip()}
</style>
</head>
<body>
<main>
<h1>{text(title)}</h1>
{"".join(parts)}</main>
</body>
</html>
"""


def _colours(theme: Theme, **more: str) -> str:
    methods = {f"m{place}": colour for place, colour in enumerate(theme.palette)}
    named = {"paper": theme.paper, "ink": theme.ink, "muted": theme.muted, "grid": theme.grid, **methods, **more}
    return "; ".join(f"--{name}: {colour}" for name, colour in named.items())


def text(given: str) -> str:
    """Escaped. What has no place in HTML (NUL and its like, half of a surrogate pair) becomes U+FFFD."""
    return escape(
        re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", given)
    )


def section(heading: str, *parts: str, anchor: str = "") -> str:
    """A part of the page under its heading; nothing where there is nothing to say. anchor: what links lead to."""
    inside = "".join(parts)
    at = f' id="{text(anchor)}"' if anchor else ""
    return f"<section{at}>\n<h2>{text(heading)}</h2>\n{inside}</section>\n" if inside else ""


def items(lines: Sequence[str], kind: str) -> str:
    """A list of sentences. kind: its class."""
    said = "".join(f"<li>{text(line)}</li>\n" for line in lines)
    return f'<ul class="{kind}">\n{said}</ul>\n' if lines else ""


def paragraph(sentence: str, kind: str) -> str:
    """kind: its class."""
    return f'<p class="{kind}">{text(sentence)}</p>\n'


def verdicts(lines: Sequence[str]) -> str:
    """Sentences; where one begins with `Held:`, `Not held:` or `Undecided:`, that word is set off."""
    said = ""
    for line in lines:
        word, _, rest = line.partition(": ")
        kind = _VERDICTS.get(word.split(",")[0]) if rest else None
        shown = f'<span class="{kind}">{text(word)}</span>{text(rest)}' if kind else text(line)
        said += f"<li>{shown.replace(' %', '&nbsp;%')}</li>\n"
    return f'<ul class="verdicts">\n{said}</ul>\n' if lines else ""


@dataclass(frozen=True)
class ClaimLine:
    """A claim as the page shows it. notes: behind the verdict's word. anchor: where the table stands."""

    word: str
    notes: Sequence[str]
    claim: str
    anchor: str
    data: str
    ours: Sequence[str]
    paper: str


def claims(label: str, lines: Sequence[ClaimLine]) -> str:
    """A table of claims, the verdict's word in front, each claim a link to the table that it rests on."""
    rows = []
    for line in lines:
        word = f'<span class="{_VERDICTS.get(line.word, "plain")}">{text(line.word)}</span>'
        small = "".join(f"<small>{text(note)}</small>" for note in line.notes)
        ours = "<br>".join(
            text(one).replace(", p ", ", p&nbsp;").replace("&nbsp;&lt; ", "&nbsp;&lt;&nbsp;") for one in line.ours
        )
        cells = [
            f'<a href="#{text(line.anchor)}">{text(line.claim)}</a>{small}',
            text(line.data),
            ours,
            text(line.paper),
        ]
        rows.append(f'<tr><th scope="row">{word}</th>' + "".join(f'<td class="text">{cell}</td>' for cell in cells))
    inside = "\n".join(f"{row}</tr>" for row in rows)
    head = ["verdict", "claim", "data", "ours [95 %]", "paper"]
    return _table(label, head, f"<tbody>\n{inside}\n</tbody>\n", "claims")


def subheading(heading: str) -> str:
    """Inside a section."""
    return f"<h3>{text(heading)}</h3>\n"


def checks(lines: Sequence[tuple[str, str, Sequence[str]]]) -> str:
    """Leak checks: the verdict's word, what was asked, a line of figures for each that was asked it."""
    said = ""
    for word, question, figures in lines:
        each = "".join(f'<p class="figures">{text(line)}</p>' for line in figures)
        said += f'<li><span class="{_WORDS[word]}">{word}</span><div>{text(question)}{each}</div></li>\n'
    return f'<ul class="checks">\n{said}</ul>\n' if lines else ""


def results(
    heading: str, header: Sequence[str], body: Sequence[Sequence[str]], colours: Sequence[int], kind: str
) -> str:
    """A table of methods. colours: of each row, a place in the palette, so that it is found again in the pictures.

    kind: the class of the heading.
    """
    rows = []
    for cells, colour in zip(body, colours, strict=True):
        name = f'<span class="method">{_spot(colour)}<span>{text(cells[0])}</span></span>'
        rows.append(f'<th scope="row">{name}</th>{"".join(map(_figure, cells[1:]))}')
    inside = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return paragraph(heading, kind) + _table(heading, header, f"<tbody>\n{inside}\n</tbody>\n")


def _figure(cell: str) -> str:
    value, bracket, interval = cell.partition(" [")
    behind = f' <span class="interval">[{text(interval)}</span>' if bracket else ""
    return f"<td>{text(value)}{behind}</td>"


def groups(label: str, header: Sequence[str], body: Sequence[tuple[str, str, Sequence[Sequence[str]]]]) -> str:
    """A table of (name, remark, rows): the name stands once beside its rows, whose first cell is words."""
    inside = ""
    for name, remark, rows in body:
        small = f'<br><span class="interval">{text(remark)}</span>' if remark else ""
        first = f'<th scope="rowgroup" rowspan="{len(rows)}">{text(name)}{small}</th>'
        lines = [f'<td class="text">{text(row[0])}</td>{"".join(map(_figure, row[1:]))}' for row in rows]
        inside += (
            "<tbody>\n"
            + "".join(f"<tr>{first if line is lines[0] else ''}{line}</tr>\n" for line in lines)
            + "</tbody>\n"
        )
    return _table(label, header, inside, "grouped")


def by_group(heading: str, methods: Sequence[tuple[str, int]], rows: Sequence[tuple[str, str, Sequence[str]]]) -> str:
    """A table of groups (name, how many, a cell a method) under columns (method, colour)."""
    named = "".join(f'<th scope="col"><span class="method">{_spot(at)}{text(name)}</span></th>' for name, at in methods)
    inside = "\n".join(
        f'<tr><th scope="row">{text(name)}<br><span class="interval">{text(size)}</span></th>'
        f"{''.join(map(_figure, cells))}</tr>"
        for name, size, cells in rows
    )
    head = f'<th scope="col">group</th>{named}'
    return f"<h3>{text(heading)}</h3>\n" + _box(heading, head, f"<tbody>\n{inside}\n</tbody>\n", "by-group")


def _spot(colour: int) -> str:
    return f'<span class="swatch" style="background: var(--m{colour})"></span>'


def _table(label: str, header: Sequence[str], bodies: str, kind: str = "table") -> str:
    head = "".join(f'<th scope="col">{text(name).replace(" %", "&nbsp;%")}</th>' for name in header)
    return _box(label, head, bodies, kind)


def _box(label: str, head: str, bodies: str, kind: str = "table") -> str:
    """A table in a box that scrolls, also by keyboard, so that the page itself never does."""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{text(label)}">\n<table class="{kind}">\n'
        f"<thead><tr>{head}</tr></thead>\n{bodies}</table>\n</div>\n"
    )


def picture(heading: str, caption: str, alt: str, light: bytes, dark: bytes) -> str:
    """Both papers are in the file; the browser shows the one of the reader's setting."""
    return (
        f"<figure>\n<figcaption><h3>{text(heading)}</h3>{text(caption)}</figcaption>\n<picture>\n"
        f'<source media="(prefers-color-scheme: dark)" srcset="{_data(dark)}">\n'
        f'<img src="{_data(light)}" alt="{text(alt)}">\n</picture>\n</figure>\n'
    )


def _data(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode('ascii')}"


def side_by_side(parts: Sequence[str], kind: str = "side") -> str:
    """As many beside each other as there is room for."""
    return f'<div class="{kind}">\n{"".join(parts)}</div>\n' if parts else ""


def block(*parts: str) -> str:
    """Parts that stay together where others stand beside them."""
    return f"<div>\n{''.join(parts)}</div>\n"


def facts(heading: str, pairs: Mapping[str, str]) -> str:
    """Names and values."""
    said = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>\n" for name, value in pairs.items())
    head = f"<h3>{text(heading)}</h3>\n" if heading else ""
    return f"<div>\n{head}<dl>\n{said}</dl>\n</div>\n"


def folded(heading: str, part: str) -> str:
    """What is long, and shown when asked for. part: HTML."""
    return f"<details>\n<summary>{text(heading)}</summary>\n{part}</details>\n"


def code(lines: str) -> str:
    """Settings, as they stand in their file."""
    return f"<pre>{text(lines)}</pre>\n"


def command(line: str) -> str:
    """To be copied into a terminal."""
    return f'<pre class="wrap"><code>{text(line)}</code></pre>\n'
