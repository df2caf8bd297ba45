"""Where the recipe that --config names lies: a file of one's own, or one that comes along."""

from __future__ import annotations

import difflib
from pathlib import Path

from melanoma.errors import RecipeError

_HERE = Path(__file__).resolve()
_ENDINGS = (".yaml", ".yml")


def find_recipe(config: Path) -> Path:
    """The file that `config` means: that path, else configs/NAME.yaml here or of those that ship.

    Only a bare name is looked for; a path is taken as it stands. Raises RecipeError for an
    unknown name, with the known ones and a suggestion.
    """
    if _is_there(config):
        return config
    known, name = known_recipes(), str(config)
    if config.suffix in _ENDINGS and config.stem in known:
        raise RecipeError(f"no recipe at {config}; did you mean --config {config.stem}?")
    if len(config.parts) != 1 or config.suffix in _ENDINGS:
        return config  # its reader refuses it, and lists what lies beside it
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise RecipeError(f"no recipe {config}{hint} (a file, or one of: {', '.join(known)})")


def known_recipes() -> dict[str, Path]:
    """The names that --config takes in this folder, sorted, with their files."""
    # configs/ here comes last, so that its files win.
    folders = (shipped_recipes(), Path("configs"))
    recipes = {path.stem: path for folder in folders for path in folder.glob("*.yaml")}
    return dict(sorted(recipes.items()))


def shipped_recipes() -> Path:
    """The folder of the recipes that come along: in the package, or beside it in a checkout."""
    installed = _HERE.parents[1] / "configs"
    return installed if installed.is_dir() else _HERE.parents[2] / "configs"


def _is_there(path: Path) -> bool:
    """Whether it can be read as a recipe: a folder called demo must not hide the recipe demo."""
    try:
        return path.exists() and not path.is_dir()
    except OSError:  # a name too long for the disk, or a folder that may not be entered
        return False
