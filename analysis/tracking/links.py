"""Links within MLflow's pages: written with names, before a server has said what their runs are called there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

MODE = "workflowType=machine_learning"
"""Without it MLflow's pages show what is of use for language models only."""
CHARTS_VIEW = "results"
"""The name under which an experiment's charts are prepared; see `dbviz_ray.analysis.tracking.views`."""
_WRITTEN = re.compile(r"(!?)\[([^]]*)\]\((run|file|charts):([^/)]*)/?([^)]*)\)")


def to_run(text: str, run: str) -> str:
    """A link to the page of the run that is called `run` here."""
    return f"[{text}](run:{quote(run, safe='')})"


def to_file(text: str, run: str, path: str) -> str:
    """A link to the page that shows a file of a run."""
    return f"[{text}](file:{quote(run, safe='')}/{quote(path)})"


def picture(text: str, run: str, path: str) -> str:
    """A picture of a run, in its size."""
    return f"!{to_file(text, run, path)}"


def to_charts(text: str) -> str:
    """A link to the experiment's charts."""
    return f"[{text}](charts:)"


def linked(markdown: str, experiment_id: str, run_ids: Mapping[str, str]) -> str:
    """The same text with addresses. What stands for runs that are not known is no link; their pictures are left out."""

    def address(found: re.Match[str]) -> str:
        is_picture, text, kind, name, path = found.groups()
        if kind == "charts":
            return f"[{text}]({charts_page(experiment_id)})"
        run_id = run_ids.get(unquote(name))
        if run_id is None:
            return "" if is_picture else text
        if is_picture:
            return f"![{text}](get-artifact?path={path}&run_uuid={run_id})"
        page = f"#/experiments/{experiment_id}/runs/{run_id}{f'/artifacts/{path}' if path else ''}"
        return f"[{text}]({page}?{MODE})"

    return _WRITTEN.sub(address, markdown)


def charts_page(experiment_id: str) -> str:
    """Where the experiment's charts are, after the server's own address."""
    return f"#/experiments/{experiment_id}/runs?{MODE}&compareRunsMode=CHART&viewStateShareKey={CHARTS_VIEW}"


def shortened(markdown: str, most: int, ending: str) -> str:
    """The text, or as many of its first paragraphs as `most` characters hold, and then `ending`."""
    if len(markdown) <= most:
        return markdown
    kept: list[str] = []
    for paragraph in markdown.split("\n\n"):
        if len("\n\n".join([*kept, paragraph, ending])) > most:
            break
        kept.append(paragraph)
    return "\n\n".join([*kept, ending])
