"""HTML pages as text, and reports of made-up runs."""

from html.parser import HTMLParser

from support.made_up_runs import analysed

from dbviz_ray.analysis.report.sweep_report import write_report
from dbviz_ray.config import SweepConfig
from dbviz_ray.store import REPORT_FILE, Store

HOSTILE = "<script>alert('&amp;')</script>"


class Page(HTMLParser):
    """What a page refers to, its text, and whether every tag is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str | None] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = [name for name, _ in attributes]
        assert len(set(names)) == len(names)
        self.references += [value for name, value in attributes if name in ("src", "href", "srcset", "action")]
        if tag not in ("meta", "img", "br", "link", "input"):  # empty
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def report_of(store: Store, sweep: SweepConfig) -> Page:
    write_report(analysed(store, sweep), sweep)
    return Page(store.read(REPORT_FILE).decode())
