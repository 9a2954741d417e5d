"""What mkdocs does with the links and tables of a page.

`[name.md](name.md)` gets that page's title as its words. A link to a file outside of docs/ leads to the repository if
`repo_url` names one; else it becomes plain text. Each cell of a table knows the head of its column, for site.css.
"""

import html
import itertools
import re
from pathlib import Path
from typing import Any


def on_page_markdown(markdown: str, config: Any, **_: Any) -> str:
    """Rewrite the links; mkdocs itself finds the broken ones."""

    def titled(link: re.Match[str]) -> str:
        page = Path(config.docs_dir, link[1])
        return f"[{page.read_text().splitlines()[0].removeprefix('# ')}](" if page.is_file() else link[0]

    def elsewhere(link: re.Match[str]) -> str:
        words, file = link.groups()
        if config.repo_url:
            return f"[{words}]({config.repo_url}/blob/HEAD/{file})"
        return f"`{file}`" if words in file else f"{words}, `{file}`"

    return re.sub(r"\[([^\]]+)\]\(\.\./([^)#]+)\)", elsewhere, re.sub(r"\[(\w+\.md)\]\(", titled, markdown))


def on_page_content(content: str, **_: Any) -> str:
    """Name the cells of tables, and let the names in them break after an underscore."""

    def named(table: re.Match[str]) -> str:
        heads = [html.escape(re.sub("<.*?>", "", head)) for head in re.findall(r"<th[^>]*>(.*?)</th>", table[0])]
        cells = itertools.cycle(heads)
        text = re.sub("<td", lambda _: f'<td data-head="{next(cells)}"', table[0])
        return re.sub("<code>.*?</code>", lambda code: code[0].replace("_", "_<wbr>"), text)

    return re.sub(r"<table>.*?</table>", named, content, flags=re.DOTALL)
