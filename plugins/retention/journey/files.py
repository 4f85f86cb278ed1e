"""The files marketers and analysts write, as text. Owns which files belong to journeys, not what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

_SINGLE = ("shop.yaml", "policy.yaml", "law.yaml")
_PLACES = (("journeys", (".yaml", ".yml")), ("templates", ()), ("sql/audiences", (".sql",)))


class Files(Mapping[str, str]):
    """Text by path relative to include/, with `/` on every system: "journeys/birthday_care.yaml".

    Never changes. Line ends are `\\n` and a byte order mark is gone, so the same words are the same text wherever they
    were saved. Bytes that are not UTF-8 stand in the text as lone surrogates; `unreadable` names files that could not
    be opened, with the reason.
    """

    def __init__(self, texts: Mapping[str, str], unreadable: Mapping[str, str] | None = None):
        self._texts = {path: normalise(texts[path]) for path in sorted(texts)}
        self.unreadable = dict(unreadable or {})

    def __getitem__(self, path: str) -> str:
        return self._texts[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def under(self, folder: str) -> list[str]:
        """The paths inside a folder, sorted."""
        return [path for path in self._texts if path.startswith(folder + "/")]


def normalise(text: str) -> str:
    """The text with `\\n` line ends and no byte order mark."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def read_files(include_dir: Path) -> Files:
    """Read journeys, templates, audiences, the shop, the rules of contact and the table of law below include/. Survives
    files that are broken in any way."""
    texts: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    for path in _find_files(include_dir):
        name = path.relative_to(include_dir).as_posix()
        try:
            texts[name] = path.read_bytes().decode("utf-8", errors="surrogateescape")
        except OSError as error:
            unreadable[name] = error.strerror or type(error).__name__
    return Files(texts, unreadable)


def _find_files(include_dir: Path) -> Iterator[Path]:
    for name in _SINGLE:
        if (include_dir / name).is_file():
            yield include_dir / name
    for place, suffixes in _PLACES:
        for path in sorted((include_dir / place).rglob("*")):
            # Editors and file managers leave their own files about: .DS_Store, .x.swp, x.yaml~
            hidden = any(part.startswith(".") for part in path.relative_to(include_dir).parts)
            if hidden or path.name.endswith("~") or path.is_dir():
                continue
            if not suffixes or path.suffix.lower() in suffixes:
                yield path
