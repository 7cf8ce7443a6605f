"""An operator's branding for reports: a folder with `branding.toml`, a logo and fonts, all of it optional.

It is checked whole before it is used; what is wrong is said with the file, the key and what is allowed. Whether a font
or a logo can really be drawn is found by the renderer (`_pdf_render.py`).
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from export_pipeline.formats._pdf_words import Language
from export_pipeline.model.errors import Broken

_FILE = "branding.toml"
_LOGOS = ("logo.svg", "logo.png")
_FONTS = (".ttf", ".otf", ".ttc", ".otc")
#: A logo is drawn 11 mm high: more is a mistake, and would be in every file.
_MOST_LOGO_BYTES = 2_000_000
_PNG = b"\x89PNG\r\n\x1a\n"

Colour = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]
Line = Annotated[str, StringConstraints(max_length=120, strip_whitespace=True, pattern=r"^[^\r\n]*$")]

#: What follows a key that is wrong, by the kind of pydantic's error.
_ADVICE = {
    "extra_forbidden": "is not a key; allowed are: {allowed}",
    "string_pattern_mismatch": "must be one line, and a colour like #1f3a5f",
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


_SERIES = ("#1f3a5f", "#5b8db8", "#b5532a", "#d9a441", "#6b8f71", "#8a6d9b", "#9aa3ad")


class Colours(_Part):
    """The colours, as `#rrggbb`; `series` are those of a chart's groups, in order, the default's behind fewer than it
    has: no two subjects share one."""

    primary: Colour = "#1f3a5f"
    accent: Colour = "#b5532a"
    text: Colour = "#1c2430"
    muted: Colour = "#67707c"
    series: Annotated[list[Colour], Field(min_length=2, max_length=12)] = Field(default_factory=lambda: list(_SERIES))

    @field_validator("series")
    @classmethod
    def _filled(cls, series: list[str]) -> list[str]:
        given = {colour.lower() for colour in series}
        others = [colour for colour in _SERIES if colour not in given]
        return series + others[: max(0, len(_SERIES) - len(series))]


class Fonts(_Part):
    """The families for running text and for headings; each must be bundled or in the folder's `fonts/`."""

    body: Line = "Libertinus Serif"
    heading: Line = "Libertinus Serif"


class Branding(_Part):
    """What `branding.toml` may hold. `name` is the organisation's, shown where there is no logo."""

    name: Line = ""
    header: Line = ""
    footer: Line = ""
    page_numbers: bool = True
    language: Language = "en"
    page_size: Literal["a4", "letter"] = "a4"
    colours: Colours = Field(default_factory=Colours)
    fonts: Fonts = Field(default_factory=Fonts)


class Brand(BaseModel):
    """A checked branding with its files."""

    model_config = ConfigDict(frozen=True)

    branding: Branding = Field(default_factory=Branding)
    logo: Path | None = None
    fonts: tuple[Path, ...] = ()


def load_brand(folder: Path | None) -> Brand:
    """The branding in the folder, or the default where there is none. Raises Broken, which names the file and key: the
    folder is the operator's matter."""
    if folder is None:
        return Brand()
    if not folder.is_dir():
        raise Broken(
            f"EXPORT_BRANDING_DIRECTORY names {folder}, which is not a folder; name one that holds {_FILE}, or unset it"
        )
    return Brand(branding=_branding(folder / _FILE), logo=_logo(folder), fonts=_fonts(folder / "fonts"))


def _branding(path: Path) -> Branding:
    if not path.exists():
        return Branding()
    try:
        return Branding.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Broken(f"{path} cannot be read as TOML in UTF-8: {error}") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))} {_sentence(item)}" for item in error.errors())
        raise Broken(f"{path}: {wrong}") from None


def _sentence(item: object) -> str:
    assert isinstance(item, dict)
    parts: dict[str, type[BaseModel]] = {"colours": Colours, "fonts": Fonts}
    owner: type[BaseModel] = parts.get(str(item["loc"][0]), Branding) if len(item["loc"]) > 1 else Branding
    advice = _ADVICE.get(item["type"])
    return advice.format(allowed=", ".join(owner.model_fields)) if advice else f"is wrong: {item['msg']}"


def _logo(folder: Path) -> Path | None:
    found = [folder / name for name in _LOGOS if (folder / name).exists()]
    if len(found) > 1:
        raise Broken(f"{folder} holds both {_LOGOS[0]} and {_LOGOS[1]}; remove one")
    if not found:
        return None
    try:
        data = found[0].read_bytes()
    except OSError as error:
        raise Broken(f"{found[0]} cannot be read: {error.strerror}") from None
    if len(data) > _MOST_LOGO_BYTES:
        raise Broken(f"{found[0]} has {len(data):,} bytes; a logo may have {_MOST_LOGO_BYTES:,}")
    if data.startswith(_PNG) != (found[0].suffix == ".png"):
        raise Broken(f"{found[0]} is not what its name says; a logo is a PNG named logo.png or an SVG named logo.svg")
    return found[0]


def _fonts(folder: Path) -> tuple[Path, ...]:
    if not folder.exists():
        return ()
    files = tuple(sorted(path for path in folder.iterdir() if not path.name.startswith(".")))
    for path in files:
        # Licence files lie beside fonts by custom.
        if path.suffix.lower() not in (*_FONTS, ".txt", ".md"):
            raise Broken(f"{path} is not a font; {folder} may hold {', '.join(_FONTS)} (and .txt, .md for licences)")
    return tuple(path for path in files if path.suffix.lower() in _FONTS)
