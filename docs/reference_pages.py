"""The pages of the reference that are made from the code: recipe keys, methods, the command line.

Path    napo.recipe_keys, the modules of methods, `--help` -> [reference_pages] -> the site (mkdocs calls `on_files`)
Takes   nothing
Gives   Markdown

A key's meaning stands where the key is: in its Field's description, in the comment beside it, or in the docstring of
its section.
"""

import ast
import inspect
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import typer
from pydantic import BaseModel

from napo import plugins
from napo.cli import app, main
from napo.recipe_keys import Recipe

KINDS = {
    "objectives": ("Objectives", "objective", "Which loss the preference stage has"),
    "negatives": ("Samplers", "negatives", "Where rejected items come from"),
    "labels": ("Labellers", "rounds.label", "Which of logged and proposed titles is chosen, in [rounds](../rounds.md)"),
}
HEAD = "| key | value | default | meaning |\n|---|---|---|---|\n"


# --- tables of keys ---------------------------------------------------------------------------------------------------


def keys_of(model: type[BaseModel], prefix: str = "") -> str:
    """A table of a model's keys, those of sections in it as `section.key`."""
    return HEAD + "".join(_rows(model, prefix))


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    schema = model.model_json_schema()
    notes = comments(model)
    for name, said in schema.get("properties", {}).items():
        meaning = said.get("description") or notes.get(name, "")
        default = _as_yaml(said["default"]) if "default" in said else ""
        inner = section_in(model.model_fields[name].annotation)
        opens = inner is not None and inner.model_config.get("extra") != "allow"
        shown = "keys below" if opens and not isinstance(said.get("default"), dict) else "" if opens else None
        kind = _kind(said, schema.get("$defs", {})) if shown is None else shown
        yield f"| `{prefix}{name}` | {_cell(kind)} | {'' if opens else _cell(default)} | {_cell(meaning)} |\n"
        if opens:
            yield from _rows(inner, f"{prefix}{name}.")


def section_in(annotation: Any) -> type[BaseModel] | None:
    """The section that a key holds, if it holds one."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in getattr(annotation, "__args__", ()) if (found := section_in(one))), None)


def _kind(said: dict[str, Any], parts: dict[str, Any]) -> str:
    """A JSON schema in words: `whole number, at least 1`; `a`, `b` or null."""
    if "$ref" in said:
        part = parts[said["$ref"].rsplit("/", 1)[-1]]
        return "a name and its settings" if part.get("additionalProperties") is True else _kind(part, parts)
    if "anyOf" in said:
        return " or ".join(dict.fromkeys(_kind(one, parts) for one in said["anyOf"]))
    if "const" in said or "enum" in said:
        return ", ".join(f"`{value}`" for value in said.get("enum", [said.get("const")]))
    if said.get("type") == "array":
        return "list of " + (_kind(said["items"], parts) if said.get("items") else "values")
    if said.get("format") == "path":
        return "path"
    named = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "string": "text"}
    kind = named.get(said.get("type", ""), str(said.get("type", "see there")))
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    limits = [f"{words} {said[bound]:g}" for bound, words in bounds.items() if bound in said]
    return ", ".join([kind, *limits])


def _as_yaml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_as_yaml(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_as_yaml, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    text = re.sub(r"\bNone\b", "null", text)  # as it is written in a recipe
    return text.replace("|", "\\|").replace("\n", " ").strip()


@cache
def comments(model: type[BaseModel]) -> dict[str, str]:
    """What the comments at a class's keys say, those of its bases included: behind a key, or on the lines above it."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if one is not BaseModel and issubclass(one, BaseModel):
            found |= _comments_in(inspect.getsource(one))
    return found


def _comments_in(source: str) -> dict[str, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    marks = {token.start[0]: token for token in tokens if token.type == tokenize.COMMENT}
    lines = source.splitlines()
    alone = {row for row, token in marks.items() if lines[row - 1].lstrip().startswith("#")}
    found = {}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        rows = []
        above = node.lineno - 1
        while above in alone:
            rows.insert(0, above)
            above -= 1
        rows += [row for row in range(node.lineno, (node.end_lineno or 0) + 1) if row in marks and row not in alone]
        if rows:
            found[node.target.id] = " ".join(marks[row].string.lstrip("# ") for row in rows)
    return found


# --- pages ------------------------------------------------------------------------------------------------------------


def recipe_page() -> str:
    """Every key of a recipe, section by section."""
    page = [
        "# Recipe keys\n",
        "`napo train recipe.yaml section.key=value` changes one. A recipe may begin with `extends: base.yaml`: it then",
        "holds what differs. An unknown key is a mistake, told with its line.",
        "Keys of [methods](methods.md) stand beside `name`.\n",
    ]
    simple = []
    for name, field in Recipe.model_fields.items():
        inner = section_in(field.annotation)
        if inner is None or inner.model_config.get("extra") == "allow":
            simple.append(name)
            continue
        page += [f"## {name}\n", _paragraphs(inner), keys_of(inner, f"{name}.")]
    top = HEAD + "".join(row for row in _rows(Recipe, "") if row.split("`")[1].split(".")[0] in simple)
    return "\n".join([*page[:4], "## At the top level\n", top, *page[4:]])


def methods_page() -> str:
    """Objectives, samplers and labellers, by the registry: their docstrings and settings."""
    page = ["# Methods\n", "A method's module is its name in a recipe; its settings stand beside `name`.\n"]
    for kind, (title, key, says) in KINDS.items():
        page.append(f"## {title}\n\n{says}: `{key}: {{name: ...}}`.\n")
        for name in plugins.built_in(kind):
            module = plugins.load(kind, name)
            head, _, rest = inspect.cleandoc(module.__doc__ or "").partition("\n")
            page += [f"### {name}\n", f"{head}\n", f"```text\n{rest.strip()}\n```\n" if rest.strip() else ""]
            page.append(keys_of(module.Settings) if module.Settings.model_fields else "It has no settings.\n")
    return "\n".join(page)


def command_page() -> str:
    """What every command says of itself."""
    page = ["# Command line\n", "Exit codes: 0; 2 for a mistake of whoever typed, with its remedy; 130 after Ctrl-C.\n"]
    for words in commands():
        page += [f"## {' '.join(['napo', *words])}\n", f"```text\n{help_of(words)}\n```\n"]
    return "\n".join(page)


def commands() -> list[tuple[str, ...]]:
    """All commands, as the words that are typed for them; groups before what is in them."""

    def below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield words
        for name, one in getattr(command, "commands", {}).items():
            yield from below(one, (*words, name))

    return list(below(typer.main.get_command(app), ()))


def help_of(words: tuple[str, ...]) -> str:
    """What `napo WORDS --help` prints on a terminal of 100 columns."""
    said = io.StringIO()
    terminal = {"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1", "TERM": "dumb"}
    with patch.dict("os.environ", terminal), redirect_stdout(said), suppress(SystemExit):
        main([*words, "--help"])
    return "\n".join(line.rstrip() for line in said.getvalue().strip("\n").splitlines())


def _paragraphs(model: type[BaseModel]) -> str:
    """Docstrings of a section and of what it comes from; where keys are explained in them, one a line."""
    texts = [inspect.cleandoc(one.__dict__["__doc__"]) for one in model.__mro__ if _says_more(one)]
    lines = []
    for line in "\n\n".join(texts).splitlines():
        names, colon, rest = line.partition(": ")
        keys = bool(colon) and set(names.split(", ")) <= set(model.model_fields)
        lines.append(f"\n* `{names}`: {rest}" if keys else line)
    return "\n".join(lines) + "\n"


def _says_more(one: type) -> bool:
    shared = {"Section", "Strict", "Method"}
    return bool(one.__dict__.get("__doc__")) and one.__module__.startswith("napo") and one.__name__ not in shared


# --- mkdocs -----------------------------------------------------------------------------------------------------------

PAGES: dict[str, Callable[[], str]] = {
    "reference/recipe.md": recipe_page,
    "reference/methods.md": methods_page,
    "reference/command-line.md": command_page,
}
# a folder has one first page on a site, and index.md of these is made by `napo report`
ANSWERED = sorted(path.parent.name for path in Path(__file__).parent.glob("results/*/README.md"))


def on_files(files: Any, config: Any) -> Any:
    """mkdocs: the pages that are no files."""
    from mkdocs.structure.files import File

    made = {path: page() for path, page in PAGES.items()}
    for name in ANSWERED:
        text = (Path(config.docs_dir) / "results" / name / "README.md").read_text(encoding="utf-8")
        made[f"results/{name}/answer.md"] = text
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """mkdocs: links to the answer's page; what lies outside docs/ is no page, and its name alone stays."""
    markdown = re.sub(rf"\(((?:\.\./)?(?:{'|'.join(ANSWERED)}))/README\.md\)", r"(\1/answer.md)", markdown)
    return re.sub(r"\[([^\]]*)\]\((?:\.\./)+(?:recipes|src|tests|sweeps)[^)]*\)", r"`\1`", markdown)
