"""What the files of a report say, and that they can be read by what they are made for."""

import re
from urllib.parse import unquote

import pytest

from mtlface.analysis.latex import escaped
from mtlface.compare import main


@pytest.fixture(scope="module")
def report(tmp_path_factory, arms_writer):
    """A whole report, read only."""
    folder = arms_writer(tmp_path_factory.mktemp("runs"))
    main([f"runs={folder}", "figures=false"])
    return folder


def text(report, kind):
    return (report / f"comparison.{kind}").read_text()


def test_the_answer_stands_first_in_every_file(report):
    for kind in ("md", "html"):
        page = re.sub(r"<wbr>|&nbsp;|\\", "", text(report, kind))
        where = page.index("Sharing: celeba_landmarks_gender: gender worse by")
        assert where < page.index("Verdicts")
        assert "5 seeds × 600 images" in page[where : where + 600].replace("\xa0", " ")


def test_the_title_asks_for_sharing_because_the_arms_have_twins(report):
    assert text(report, "md").startswith("# Did sharing help?")


def test_every_run_is_linked_from_the_page_with_its_command(report):
    page = text(report, "html")
    assert page.count('">folder</a>') == 20
    link = re.search(r'href="([^"]+)/">folder', page)[1]
    assert (report / unquote(link) / "result.json").is_file()
    assert "python -m mtlface.train" in page


def test_two_tasks_gradients_are_a_sentence(report):
    page = re.sub(r"\\", "", text(report, "md"))
    assert "those of gender and landmarks pull against each other" in page
    assert "(mean cosine −0.20, 5 seeds)" in page


def test_what_the_arms_have_in_common_is_said_once(report):
    assert text(report, "md").count("| trainer.max\\_epochs | 8 |") == 1


def test_latex_has_a_booktabs_table_per_table_and_balanced_rows(report):
    page = text(report, "tex")
    tables = re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", page, re.S)
    assert len(tables) >= 4
    for align, body in tables:
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert all(len(re.findall(r"(?<!\\)&", row)) == len(align) - 1 for row in rows)
        assert all(rule in body for rule in (r"\toprule", r"\midrule", r"\bottomrule"))


@pytest.mark.parametrize(
    ("plain", "latex"),
    [
        ("a_b & 50 %", r"a\_b \& 50 \%"),
        ("−0.1 ± 2 ↓", r"$-$0.1 $\pm$ 2 $\downarrow$"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
    ],
)
def test_latex_prints_text_as_text(plain, latex):
    assert escaped(plain) == latex
