"""What mkdocs fills into pages from the code: commands, recipe fields, report fields, routes.

A page asks by a line such as `<!-- commands -->`; an unknown name ends the build.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).resolve().parents[1] / "weights" / "dermoscopy_mobilenet"
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with each marker line replaced by what it names."""
    return re.sub(r"^<!-- (\w+) -->$", lambda m: GENERATED[m[1]](), markdown, flags=re.MULTILINE)


def commands() -> str:
    """Every command with its usage and options."""
    import typer

    from melanoma.__main__ import COMMANDS

    return "\n\n".join(
        f"## {verb}\n\n{_command(typer.main.get_command(module.app), module.__doc__ or '')}"
        for verb in COMMANDS
        for module in [importlib.import_module(f"melanoma.{verb}")]
    )


def recipe_fields() -> str:
    """Every section of a recipe as a table of its fields."""
    from melanoma.recipe.json_schema import recipe_schema

    return "\n\n".join(_sections(recipe_schema(), "The recipe"))


def report_fields() -> str:
    """Every part of report.json as a table of its fields."""
    from melanoma.evaluation.report.schema import ReportContent

    return "\n\n".join(_sections(ReportContent.model_json_schema(), "report.json"))


def routes() -> str:
    """Every route with its methods, what it does and what it may answer."""
    from api.app import create_app
    from api.settings import Settings
    from melanoma.scoring.bundle.bundle import load_bundle
    from melanoma.scoring.scorer import Scorer

    app = create_app([Scorer(load_bundle(SHIPPED))], Settings())
    paths = app.openapi()["paths"]
    lines = ["| route | does | answers |", "|---|---|---|"]
    for path, methods in paths.items():
        for method, says in methods.items():
            first = _cell((says.get("description") or says.get("summary", "")).split("\n\n")[0])
            lines.append(
                f"| `{method.upper()} {path}` | {first} | {', '.join(says['responses'])} |"
            )
    return "\n".join(lines)


def _command(command: Any, docstring: str) -> str:
    usage = docstring.partition(":")[0].strip()
    rows = ["| option | default | meaning |", "|---|---|---|"]
    for option in command.params:
        if option.name == "help":
            continue
        names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
        default = "" if option.default in (None, False, ()) else f"`{option.default}`"
        if callable(option.default):
            default = ""
        needed = "needed" if option.required else default
        rows.append(f"| {names} | {needed} | {_cell(getattr(option, 'help', '') or '')} |")
    return f"    {usage}\n\n{command.help}\n\n" + "\n".join(rows)


def _sections(schema: dict[str, Any], title: str) -> Iterator[str]:
    yield from (_section(name, part) for name, part in {title: schema, **schema["$defs"]}.items())


def _section(name: str, part: dict[str, Any]) -> str:
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for field, says in part.get("properties", {}).items():
        needed = field in part.get("required", ())
        default = "needed" if needed else f"`{_short(says.get('default', ''))}`"
        meaning = _cell(says.get("description", ""))
        rows.append(f"| `{field}` | {_cell(_type(says))} | {default} | {meaning} |")
    return f"## {name}\n\n{_prose(part.get('description', ''))}\n\n" + "\n".join(rows)


def _type(says: dict[str, Any]) -> str:
    if "$ref" in says:
        return str(says["$ref"]).rsplit("/", 1)[1]
    for several in ("anyOf", "oneOf", "allOf"):
        if several in says:
            return " or ".join(dict.fromkeys(_type(one) for one in says[several]))
    if "enum" in says:
        return " or ".join(map(str, says["enum"]))
    if "const" in says:
        return str(says["const"])
    if says.get("type") == "array":
        return f"list of {_type(says.get('items', {}))}"
    bounds = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    limits = [f"{word} {says[key]:g}" for key, word in bounds.items() if key in says]
    return " ".join([str(says.get("type", "any")), *limits])


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def _prose(text: str) -> str:
    """Text as it stands: no bracket of ours is a link."""
    return text.replace("[", "\\[").replace("<", "&lt;")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


GENERATED = {
    "commands": commands,
    "recipe_fields": recipe_fields,
    "report_fields": report_fields,
    "routes": routes,
}
