"""The record of proofs says of each what was promised, whether it held, and with what figures."""

from __future__ import annotations

from tools.proofs import read, recorded, render, sections

REPORT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest">
  <testcase classname="tests.e2e.test_b" name="test_kills_cost_no_request" time="61.2">
    <properties><property name="kills" value="30"/><property name="requests" value="12000"/></properties>
  </testcase>
  <testcase classname="tests.e2e.test_a" name="test_it_breaks" time="1.0"><failure message="no"/></testcase>
</testsuite></testsuites>
"""


def test_each_proof_is_a_row_under_its_module_with_verdict_and_figures() -> None:
    page = render(sections(tuple(read(REPORT)), "today, here"))
    assert page == (
        "# Proofs\n\nWritten by `make prove`; not by hand.\n\n"
        "## tests/e2e/test_a.py\n\ntoday, here\n\n"
        "| promise | verdict | took | figures |\n|---|---|---|---|\n"
        "| it breaks | failed | 1 s |  |\n\n"
        "## tests/e2e/test_b.py\n\ntoday, here\n\n"
        "| promise | verdict | took | figures |\n|---|---|---|---|\n"
        "| kills cost no request | held | 61 s | kills: 30; requests: 12000 |\n"
    )


def test_what_was_not_run_again_stays_as_it_was_recorded() -> None:
    first = sections(tuple(read(REPORT)), "yesterday, there")
    again = recorded(render(first)) | sections(tuple(read(REPORT))[:1], "today, here")
    assert again["tests/e2e/test_a.py"] == first["tests/e2e/test_a.py"]
    assert again["tests/e2e/test_b.py"].startswith("today, here\n")
    assert recorded(render(again)) == again
