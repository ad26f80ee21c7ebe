"""The page of one sweep or several: claims with their verdicts, tables, pictures, and what is behind each.

Path    experiments.store -> [experiments.page] -> overview.html, index.md, plots/*.png, claims.json
Takes   Stores; the folder to write to
Gives   Written; overview.html is one file that needs nothing else, index.md the same for GitHub

Equal stores give equal bytes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from napo.errors import UserError
from napo.evaluation import report_page as html
from napo.evaluation.plot_style import DARK, LIGHT, Style, png
from napo.evaluation.report import GroupTable, Judged, ReportTable, judged_part, title_of, trusted
from napo.evaluation.report_pictures import Picture
from napo.evaluation.table import ResultTable
from napo.evaluation.table_text import SideTable
from napo.evaluation.verdicts import Word
from napo.experiments.claims import Judged as JudgedClaim
from napo.experiments.claims import claims_json, claims_markdown, judge_claims
from napo.experiments.costs import cost_table
from napo.experiments.figures import data_pictures, row_styles, table_pictures
from napo.experiments.store import STORE, SWEEP, Store
from napo.files import write_aside
from napo.recipe_reading import to_yaml

PAGE, INDEX, CLAIMS, PLOTS = "overview.html", "index.md", "claims.json", "plots"


@dataclass(frozen=True, eq=False)
class Written:
    """path: of overview.html."""

    path: Path
    claims: Sequence[JudgedClaim]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A picture on both papers. file: its name without an end."""

    file: str
    picture: Picture
    light: bytes
    dark: bytes

    @property
    def html(self) -> str:
        return html.picture(self.picture.heading, self.picture.caption, self.picture.alt, self.light, self.dark)

    @property
    def markdown(self) -> str:
        alt = self.picture.alt.replace("[", "(").replace("]", ")")
        return f"**{self.picture.heading}.** {self.picture.caption}\n\n![{alt}]({PLOTS}/{self.file}.png)"


@dataclass(frozen=True, eq=False)
class Part:
    """One table with its pictures. protocol: empty for costs and training."""

    data: str
    protocol: str
    heading: str
    anchor: str
    drawn: Sequence[Drawn]
    behind: Mapping[str, str]
    costs: SideTable | None = None


@dataclass(frozen=True, eq=False)
class Sheet:
    """One sweep's share of the page."""

    store: Store
    title: str
    claims: Sequence[JudgedClaim]
    parts: Sequence[Part]
    styles: Mapping[str, Style]

    def anchor_of(self, claim: JudgedClaim) -> str:
        """Of the part that the claim rests on; of the first one where that is not there."""
        fits = [part for part in self.parts if part.data == claim.data]
        return next((one.anchor for one in fits if one.protocol == claim.protocol), (fits or self.parts)[0].anchor)


def find_stores(folders: Sequence[Path]) -> list[Store]:
    """The stores in folders: a store, the folder of one, or of several sweeps. Raises UserError where there is none."""
    found: dict[Path, Store] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"no folder {folder}", remedy="name what `napo sweep` has written, such as runs/sweep")
        one = [folder] if (folder / SWEEP).is_file() else []
        one = one or ([folder / STORE] if (folder / STORE / SWEEP).is_file() else [])
        one = one or sorted(path.parent for path in [*folder.glob(f"*/{STORE}/{SWEEP}"), *folder.glob(f"*/{SWEEP}")])
        if not one:
            raise UserError(f"{folder} holds no results of a sweep", remedy="`napo sweep SWEEP --out FOLDER`")
        found |= {path.resolve(): Store(path) for path in one}
    return list(found.values())


def write_page(stores: Sequence[Store], out: Path, *, title: str | None = None) -> Written:
    """Write the page, its pictures and the claims into `out`. All is drawn before anything is written."""
    sheets = [_sheet(store, f"{_slug(home(store).name)}-" * (len(stores) > 1)) for store in stores]
    title = title or (sheets[0].title if len(sheets) == 1 else f"Results: {', '.join(one.title for one in sheets)}")
    page, index = _html(title, sheets), _markdown(title, sheets)
    for drawn in (drawn for sheet in sheets for part in sheet.parts for drawn in part.drawn):
        with write_aside(out / PLOTS / f"{drawn.file}.png") as aside:
            aside.write_bytes(drawn.light)
    claims = [claim for sheet in sheets for claim in sheet.claims]
    for name, text in {PAGE: page, INDEX: index, CLAIMS: claims_json(claims)}.items():
        with write_aside(out / name) as aside:
            aside.write_text(text, encoding="utf-8")
    return Written(out / PAGE, claims)


def home(store: Store) -> Path:
    """The folder that a store's page belongs to."""
    folder = store.folder.resolve()
    return folder.parent if folder.name == STORE else folder


# --- what is on it -------------------------------------------------------------------------------------------------


def _sheet(store: Store, prefix: str) -> Sheet:
    styles, parts = row_styles(store), []
    for data in store.data:
        for protocol in store.protocols(data):
            anchor = f"{prefix}{_slug(data)}-{protocol}"
            drawn = _drawn(table_pictures(store, data, protocol, styles), prefix)
            heading = f"{data}: {_lower(title_of(protocol))}"
            parts.append(Part(data, protocol, heading, anchor, drawn, _behind(store, data, protocol)))
        anchor, drawn, costs = f"{prefix}{_slug(data)}-costs", _drawn(data_pictures(store, data, styles), prefix), None
        costs = cost_table(store, data)
        if costs is not None or drawn:
            parts.append(Part(data, "", f"{data}: costs and training", anchor, drawn, _behind(store, data), costs))
    return Sheet(store, store.said["title"], judge_claims(store), parts, styles)


def _drawn(pictures: Sequence[Picture], prefix: str) -> list[Drawn]:
    return [Drawn(f"{prefix}{one.file}", one, png(one.draw(LIGHT)), png(one.draw(DARK))) for one in pictures]


def _behind(store: Store, data: str, protocol: str = "") -> dict[str, str]:
    """What a table's figures were made from."""
    facts = {"command": store.said.get("command") or "not told"}
    if protocol:
        results = store.results(data, protocol)
        first = next(iter(results.values()))[0]
        lists = {str(one.lists)[:16] for given in results.values() for one in given if one.lists}
        facts["data, split"] = first.conditions["split"]
        facts |= {"candidate lists": ", ".join(sorted(lists))} if lists else {}
    facts["store, SHA-256"] = store.digest[:16]
    facts["seeds"] = ", ".join(map(str, store.said["seeds"]))
    tried = ", ".join(f"{method} {count}" for method, count in store.said["tried"].items() if count is not None)
    facts["settings tried on validation"] = tried or "none told"
    facts["cells"] = f"{store.said['done']} of {store.said['cells']} done"
    if protocol and (lacking := store.missing(data, protocol)):
        facts["left out, for not all seeds are done"] = ", ".join(lacking)
    return facts


def _in_short(claims: Sequence[JudgedClaim]) -> str:
    """`Of 6 claims 3 held, 1 not held, 2 undecided.`"""
    counts = Counter(claim.verdict.word for claim in claims)
    words = ", ".join(f"{counts[word]} {word}" for word in get_args(Word) if counts[word])
    return f"{len(claims)} claim{'s' * (len(claims) > 1)}: {words}."


# --- HTML ------------------------------------------------------------------------------------------------------------


def _html(title: str, sheets: Sequence[Sheet]) -> str:
    several = len(sheets) > 1
    leaked = [
        f"{sheet.title}, {part.heading}" if several else part.heading
        for sheet in sheets
        for part in sheet.parts
        if part.protocol and _table(sheet, part).heading.startswith("LEAKED")
    ]
    alarm = f"LEAKED: {'; '.join(leaked)}. A leak check failed: no figure there says how well a method recommends."
    checks = [
        html.subheading(f"{sheet.title}: {data}" if several else data) + trusted(list(found.values()))
        for sheet in sheets
        for data in sheet.store.data
        if (found := {c.line: c for p in sheet.store.protocols(data) for c in sheet.store.table(data, p).checks})
    ]
    parts = [
        html.paragraph(alarm, "alarm") if leaked else "",
        *(_claims(sheet, several) for sheet in sheets if sheet.claims),
        *(_part(sheet, part, several) for sheet in sheets for part in sheet.parts),
        html.section("Can the figures be trusted?", *checks),
        html.section("Settings", *(_settings(sheet, several) for sheet in sheets)),
    ]
    return html.page(title, parts)


def _claims(sheet: Sheet, several: bool) -> str:
    lines = [
        html.ClaimLine(
            word=_upper(claim.verdict.word),
            notes=[*filter(None, [_beside_the_word(claim)]), *claim.notes],
            claim=claim.claim.says,
            anchor=sheet.anchor_of(claim),
            data=claim.data,
            ours=claim.ours.split("; "),
            paper=claim.claim.paper,
        )
        for claim in sheet.claims
    ]
    heading = f"Claims: {sheet.title}" if several else "Claims"
    return html.section(heading, html.paragraph(_in_short(sheet.claims), "lead"), html.claims(heading, lines))


def _beside_the_word(claim: JudgedClaim) -> str:
    """What the verdict says more than its word: the cases that would decide, why there is none."""
    return str(claim.verdict).removeprefix(claim.verdict.word).lstrip(", ")


def _part(sheet: Sheet, part: Part, several: bool) -> str:
    heading = f"{part.heading} ({sheet.title})" if several else part.heading
    behind = html.folded(
        f"Command, data and store behind these figures (store {part.behind['store, SHA-256']})",
        html.facts("", part.behind),
    )
    pictures = [drawn.html for drawn in part.drawn]
    if part.protocol:
        table = _table(sheet, part)
        judged = Judged(part.protocol, ReportTable.of(table), groups=GroupTable.of(table))
        verdicts = html.items(table.verdicts, "notes")
        against = html.folded(f"What may be said of each row against {table.base}", verdicts) if verdicts else ""
        return judged_part(judged, pictures, sheet.styles, against, behind, heading=heading, anchor=part.anchor)
    costs = part.costs
    spent = ""
    if costs is not None:
        colours = [sheet.styles[line[0]].colour for line in costs.body]
        spent = html.results(costs.heading, costs.header, costs.body, colours, "heading")
        spent += html.items(costs.notes, "notes")
    return html.section(heading, spent, html.side_by_side(pictures), behind, anchor=part.anchor)


def _settings(sheet: Sheet, several: bool) -> str:
    """The recipes of the rows, folded, under one seed."""
    cells = sheet.store.cells.filter(kind="model").unique(["data", "row"], keep="first", maintain_order=True)
    name = f"{sheet.title}: " if several else ""
    return "".join(
        html.folded(f"{name}{row}, {data}", html.code(to_yaml(json.loads(recipe))))
        for row, data, recipe in cells.select("row", "data", "recipe").iter_rows()
    )


def _table(sheet: Sheet, part: Part) -> ResultTable:
    return sheet.store.table(part.data, part.protocol)


# --- Markdown --------------------------------------------------------------------------------------------------------


def _markdown(title: str, sheets: Sequence[Sheet]) -> str:
    several = len(sheets) > 1
    lines = [f"# {title}", f"The same as one page, with more: [{PAGE}]({PAGE})."]
    for sheet in sheets:
        if sheet.claims:
            lines += [f"## Claims: {sheet.title}" if several else "## Claims", _in_short(sheet.claims)]
            lines.append(claims_markdown(sheet.claims, sheet.anchor_of))
    for sheet in sheets:
        for part in sheet.parts:
            heading = f"{part.heading} ({sheet.title})" if several else part.heading
            lines += [f'<a id="{part.anchor}"></a>', f"## {heading}"]
            if part.protocol:
                lines.append(_table(sheet, part).markdown().rstrip())
            if part.costs is not None:
                lines.append(part.costs.markdown().rstrip())
            lines += [drawn.markdown for drawn in part.drawn]
            lines.append("; ".join(f"{name}: `{said}`" for name, said in part.behind.items()))
    return "\n\n".join(lines) + "\n"


# --- words -----------------------------------------------------------------------------------------------------------


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "data"


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]


def _upper(words: str) -> str:
    return words[:1].upper() + words[1:]
