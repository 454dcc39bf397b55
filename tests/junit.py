"""The rules that the XML schemas of JUnit reports have in common, as GitLab and Jenkins read them."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

SUITE = {"name", "tests", "failures", "errors", "skipped", "time"}


def cases(report: str) -> dict[str, Element]:
    """Return the test cases of a report by name, when the report keeps the rules."""
    top = ElementTree.fromstring(report)
    assert top.tag == "testsuites" and not top.attrib
    (suite,) = top
    assert suite.tag == "testsuite" and set(suite.attrib) == SUITE
    assert float(suite.attrib["time"]) >= 0
    assert int(suite.attrib["tests"]) == len(suite)
    for word, tag in (("failures", "failure"), ("skipped", "skipped"), ("errors", "error")):
        assert int(suite.attrib[word]) == len(suite.findall(f"testcase/{tag}"))
    for case in suite:
        _check(case)
    found = {case.attrib["name"]: case for case in suite}
    assert len(found) == len(suite), "two test cases of one name are one for most readers"
    return found


def _check(case: Element) -> None:
    assert case.tag == "testcase" and {"name", "classname", "time"} <= set(case.attrib) <= {
        "name", "classname", "time", "file",
    }  # fmt: skip
    tags = [part.tag for part in case]
    assert tags in ([], ["failure"], ["skipped"], ["system-out"], ["failure", "system-out"], ["skipped", "system-out"])
    for part in case:
        assert set(part.attrib) <= {"message", "type"} and not len(part)
