"""What people and machines read of a gate's verdict: lines for a terminal, Markdown, and JUnit XML."""

from dataclasses import dataclass
from xml.etree import ElementTree

from dbviz_ray.formatting import p_phrase, percent_text

from .matching import Predictions
from .verdicts import FLOOR_LEVEL, Changes, Check, Verdict

MEANING = {
    Verdict.PASS: "{new} may replace {old}",
    Verdict.FAIL: "{new} may not replace {old}",
    Verdict.UNDECIDED: "it cannot be told yet whether {new} may replace {old}",
}


@dataclass(frozen=True)
class Gate:
    """A verdict on two models, and what it comes from; `print` shows it in words."""

    predictions: Predictions
    """Of the old model, the new one, and reruns."""
    changes: Changes
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        """FAIL if a limit is broken, else UNDECIDED if one is, else PASS."""
        verdicts = {one.verdict for one in self.checks}
        return next(verdict for verdict in (Verdict.FAIL, Verdict.UNDECIDED, Verdict.PASS) if verdict in verdicts)

    @property
    def headline(self) -> str:
        """Such as "FAIL: new may not replace old"."""
        old, new, *_ = self.predictions.names
        return f"{self.verdict}: {MEANING[self.verdict].format(old=old, new=new)}"

    def __str__(self) -> str:
        lines = [f"{one.verdict:9} {sentence(one)}" for one in self.checks]
        remarks = self.predictions.remarks
        return "\n".join([self.headline, "", *lines, *(["", *remarks] if remarks else [])])

    def markdown(self) -> str:
        """For the summary of a pull request."""
        rows = [f"| {one.verdict} | {one.name} | {sentence(one)} |" for one in self.checks]
        head = [f"**{self.headline}**", "", "| verdict | what | measured |", "|---|---|---|"]
        return "\n".join([*head, *rows, "", *self.predictions.remarks, "Brackets are 95 % intervals over items.", ""])

    def junit(self) -> bytes:
        """A test case for each check: a failure if it fails, an error if it is undecided."""
        suite = ElementTree.Element("testsuite", name="dbviz-ray gate", tests=str(len(self.checks)))
        for one in self.checks:
            case = ElementTree.SubElement(suite, "testcase", classname="dbviz-ray.gate", name=one.name)
            if one.verdict is not Verdict.PASS:
                kind = "failure" if one.verdict is Verdict.FAIL else "error"
                ElementTree.SubElement(case, kind, type=one.verdict, message=sentence(one))
        for kind, verdict in (("failures", Verdict.FAIL), ("errors", Verdict.UNDECIDED)):
            suite.set(kind, str(sum(one.verdict is verdict for one in self.checks)))
        content: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
        return content


def sentence(one: Check) -> str:
    """What was measured, the limit, and what would decide."""
    value = percent_text(one.value.value, one.value.low, one.value.high, 2)
    if one.reruns is not None:
        return _of_noise_floor(one, value)
    told = f"{one.name} {value}; {'at most' if one.at_most else 'at least'} {100 * one.limit:g}% allowed"
    if one.verdict is not Verdict.UNDECIDED:
        return told
    decided = f"about {one.needed:,} items would decide" if one.needed else "no number of items would decide"
    return f"{told}; the interval holds the limit, {decided} if the share stays as it is"


def _of_noise_floor(one: Check, value: str) -> str:
    if one.p_value is None:
        return f"{one.reruns} reruns say too little about how much trainings differ; give three or more"
    beyond = "more" if one.verdict is Verdict.FAIL else "no more"
    return (
        f"old and new differ on {value} of the items, {beyond} than trainings of the recipe do: of two further "
        f"trainings, at most {100 * one.limit:.2f}% ({FLOOR_LEVEL:.1%} of pairs, from {one.reruns} reruns; "
        f"{p_phrase(one.p_value)})"
    )
