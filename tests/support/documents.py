"""The project's pages, and what in them can be run."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = ("python", "ray", "mlflow", "aws", "gcloud", "pip", "kubectl")
"""Code within a line that begins with one of these is a command."""
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    page: Path
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that it says it is: `# name.py` in its first line."""
        named = re.match(r"# (\S+\.(?:py|yaml))\n", self.text)
        return named[1] if named else None

    def __str__(self) -> str:
        return f"{self.page.name}-{self.text.splitlines()[0][:40]}"


def blocks(*languages: str, page: Path | None = None) -> list[Block]:
    """The fenced parts in some languages, of one page or of all."""
    found = [Block(of, *part) for of in PAGES if page in (None, of) for part in _FENCED.findall(of.read_text())]
    return [block for block in found if block.language in languages]


def prose(page: Path) -> str:
    return _FENCED.sub("", page.read_text())


def commands(page: Path) -> list[str]:
    """Every command of a page, in its shell parts and within its lines, as somebody would type it."""
    inline = re.findall(r"`([^`\n]+)`", prose(page))
    return [
        *(command for block in blocks("bash", page=page) for command in _commands(block.text)),
        *(code for code in inline if code.split()[0] in PROGRAMS and len(code.split()) > 1),
    ]


def _commands(script: str) -> list[str]:
    """The commands of a script, those that go over several lines too."""
    found, begun = [], ""
    for line in script.splitlines():
        begun = f"{begun}\n{line}" if begun else line
        if not _goes_on(begun):
            found.append(re.sub(r"\s+# .*$", "", begun.replace("\\\n", " ")).strip())
            begun = ""
    assert not begun, f"a command without an end: {begun}"
    return [command for command in found if command and not command.startswith("#")]


def _goes_on(begun: str) -> bool:
    document = re.search(r"<<(\w+)", begun)
    if begun.endswith("\\") or (document and not begun.endswith(f"\n{document[1]}")):
        return True
    try:
        shlex.split(begun, comments=True)
    except ValueError:  # an open quotation
        return not document
    return False
