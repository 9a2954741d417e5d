"""What mkdocs does with links to files outside of docs/: to the repository if `repo_url` names one, else plain text."""

import re
from typing import Any


def on_page_markdown(markdown: str, config: Any, **_: Any) -> str:
    """Rewrite links that begin with `../`; mkdocs itself finds the broken ones among the others."""

    def elsewhere(link: re.Match[str]) -> str:
        return f"[{link[1]}]({config.repo_url}/blob/HEAD/{link[2]})" if config.repo_url else f"{link[1]} (`{link[2]}`)"

    return re.sub(r"\[([^\]]+)\]\(\.\./([^)#]+)\)", elsewhere, markdown)
