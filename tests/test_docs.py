"""The pages link to one another, name everything that exists, and their facts are right."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from support.documents import PAGES, ROOT, prose

import dbviz_ray
from dbviz_ray.analysis.figures import FIGURES, figures_of
from dbviz_ray.analysis.findings.sentences import QUESTIONS
from dbviz_ray.config.sweep_files import embedded_sweeps, load_sweep

LINKING = [*PAGES, ROOT / "CHANGELOG.md"]


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def anchors(file: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", prose(file), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("of", LINKING, ids=lambda of: of.name)
def test_links_have_targets_and_code_is_fenced_and_names_its_language(of):
    links = re.findall(r"\]\(([^)]+)\)", prose(of))
    for link in (link for link in links if not link.startswith(("http://", "https://"))):
        name, _, anchor = link.partition("#")
        target = (of.parent / name).resolve() if name else of
        assert (target.exists(), target.is_relative_to(ROOT)) == (True, True), link
        assert not anchor or anchor in anchors(target), link
    fences = re.findall(r"^```(.*)$", of.read_text(), flags=re.MULTILINE)
    assert set(fences[::2]) <= {"bash", "python", "yaml", "text"}
    assert fences[1::2] == [""] * len(fences[::2])
    assert not re.search(r"^    \S", prose(of), flags=re.MULTILINE)


def test_the_readme_is_short_and_links_every_page():
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 170
    linked = re.findall(r"\]\((docs/\w+\.md)", readme)
    assert {ROOT / name for name in linked} == set(PAGES) - {ROOT / "README.md"}


def test_the_page_of_sentences_has_every_question_and_no_other():
    assert re.findall(r"^## (.*)$", page("sentences.md"), flags=re.MULTILINE) == list(dict.fromkeys(QUESTIONS.values()))


def test_every_picture_is_shown_with_a_description():
    shown = [name for of in PAGES for name in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", of.read_text())]
    assert {Path(name).name for name in shown} == {file.name for file in (ROOT / "docs").glob("*.[ps][nv]g")}


@pytest.mark.parametrize("name", FIGURES)
def test_the_pages_describe_each_figure_as_the_code_does(name):
    sweeps, shows = re.escape(FIGURES[name].sweeps), re.escape(FIGURES[name].shows)
    assert re.search(rf"^\| `{name}` \| {sweeps} \| [^|]+ \| {shows} \|$", page("figures.md"), flags=re.MULTILINE)


def test_figures_belong_to_the_sweeps_in_their_row():
    for row in re.findall(r"^\| [A-Za-z].* \| .* \| .* \| `.*$", page("figures.md"), flags=re.MULTILINE):
        _, _, *sweeps, files = (re.findall(r"`(\w+)`", cell) for cell in row.split("|")[:-1])
        drawn = [set(figures_of(load_sweep(name))) for of in sweeps for name in of]
        assert drawn
        tables = re.findall(r"table `(\w+)`", row)
        assert set(files) - set(tables) <= set.union(*drawn), row


def test_the_pages_give_each_sweeps_number_of_models():
    rows = re.findall(r"^(\|.*) \| ([\d to]+) \|$", page("figures.md"), flags=re.MULTILINE)
    told = {name: count for line, count in rows for name in re.findall(r"`(\w+)`", line)}
    counts = {name: len(load_sweep(name).models()) for name in embedded_sweeps()}
    on_digits = [count for name, count in counts.items() if name.endswith("_digits")]
    of_digits = f"{min(on_digits)} to {max(on_digits)}"
    assert told == {name: of_digits if name.endswith("_digits") else str(count) for name, count in counts.items()}


def test_the_pages_name_everything_public():
    headings = re.findall(r"^## `(\w+)", page("python.md"), flags=re.MULTILINE)
    assert set(headings) == set(dbviz_ray.__all__)


def test_licence_version_and_citation_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()
    assert project["version"] in (ROOT / "CHANGELOG.md").read_text()
