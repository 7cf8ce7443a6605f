"""The renderer: a process of its own that turns a document (JSON) and charts (Vega-Lite) into a PDF, by typst.

It is run by its path with an isolated Python and an empty environment, so that it reads nothing but the folder it is
given: it imports nothing of the project, only the standard library, vl_convert and typst. What `_pdf_process.py`
writes into that folder: `request.json`, `document.json`, `report.typ`, `logo.*`, `fonts/`; what it finds there
afterwards: `report.pdf`, or `error.json`.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Linux's number for: have this signal when the parent ends.
_PR_SET_PDEATHSIG = 1
#: So many characters without a font are named; more would not help.
_MOST_NAMED = 20


class Problem(Exception):
    """What the person is to be told: `kind` is `glyphs`, `fonts` or `logo`, `names` are the characters or files."""

    def __init__(self, kind: str, names: list[str], detail: str = "") -> None:
        super().__init__(kind)
        self.kind, self.names, self.detail = kind, names, detail


def render(folder: Path) -> None:
    """Writes `report.pdf` into the folder. Raises Problem, and what typst and vl_convert raise for a defect."""
    import typst

    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    document = json.loads((folder / "document.json").read_text(encoding="utf-8"))
    fonts = typst.Fonts(include_system_fonts=False, font_paths=[folder / "fonts"])
    _check_fonts(fonts, folder / "fonts", document["brand"])
    for name, spec in request["charts"].items():
        (folder / name).write_text(_draw(spec, request), encoding="utf-8")
    # PDF/A-2a, for archives, and PDF/UA-1, for screen readers: both forbid characters that no font has.
    compiler = typst.Compiler(root=folder, font_paths=fonts, ignore_system_fonts=True)

    def compiled(source: bytes) -> bytes:
        result = compiler.compile(source, format="pdf", pdf_standards=["a-2a", "ua-1"], timestamp=request["timestamp"])
        assert isinstance(result, bytes)
        return result

    if document["brand"]["logo"]:
        _check_logo(compiled, document["brand"]["logo"])
    try:
        pdf = compiled((folder / "report.typ").read_bytes())
    except typst.TypstError:
        if missing := _without_glyph(compiled, [document, request["charts"]]):
            raise Problem("glyphs", missing) from None
        raise
    (folder / "report.pdf").write_bytes(pdf)


def _draw(spec: dict[str, Any], request: dict[str, Any]) -> str:
    import vl_convert

    return str(
        vl_convert.vegalite_to_svg(
            spec, vl_version="6.4", allowed_base_urls=[], format_locale=request["format_locale"], show_warnings=False
        )
    )


def _check_fonts(fonts: Any, folder: Path, brand: dict[str, Any]) -> None:
    read = {Path(info.path).name for info in fonts.fonts() if info.path}
    if unreadable := sorted(path.name for path in folder.iterdir() if path.name not in read):
        raise Problem("fonts", unreadable)
    families = fonts.families()
    if unknown := sorted({brand["body_font"], brand["heading_font"]} - set(families)):
        raise Problem("families", unknown, ", ".join(families))


def _check_logo(compiled: Any, name: str) -> None:
    import typst

    try:
        compiled(f'#set document(title: "Logo")\n#image("{name}", alt: "Logo")'.encode())
    except typst.TypstError as error:
        raise Problem("logo", [name], error.message) from None


def _without_glyph(compiled: Any, texts: Any) -> list[str]:
    """The characters of these texts that no font has. Each is tried on its own, as typst finds fonts."""
    import typst

    missing: list[str] = []
    for character in sorted({character for text in _texts(texts) for character in text}):
        if len(missing) == _MOST_NAMED:
            break
        try:
            compiled(f'#set document(title: "x")\n#"a\\u{{{ord(character):x}}}"'.encode())
        except typst.TypstError:
            missing.append(character)
    return missing


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)


def end_with(parent: int) -> None:
    """Has this process killed when the parent ends, however that happens. Only Linux can do that, and its parent is the
    thread that started this process."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:  # it ended before
            os._exit(1)


def main(folder: Path, most_bytes: int, most_seconds: int) -> int:
    """Renders within limits of memory and processor time; 0 where there is a PDF."""
    # V8 reserves 32 GB of addresses that it never uses, so RLIMIT_AS would say nothing.
    resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (most_seconds, most_seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        render(folder)
    except Problem as problem:
        found = {"kind": problem.kind, "names": problem.names, "detail": problem.detail}
        (folder / "error.json").write_text(json.dumps(found), encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    sys.exit(main(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
