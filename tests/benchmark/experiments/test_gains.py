"""The table of gains: one line a pair, whatever the order of its comparisons."""

from synood.benchmark.experiments._gains import gains
from synood.benchmark.results.comparisons import Comparison

TITLES = {"a": "guided", "b": "unguided", "c": "none"}


def test_a_pair_has_one_line_with_a_mark_where_the_interval_excludes_zero():
    compared = [
        Comparison("a", "b", "auroc", "average:all", 0.012, -0.001, 0.025),
        Comparison("a", "b", "fpr95", "average:all", 0.0345, 0.001, 0.068),
        Comparison("a", "b", "fpr95", "average:far", -0.05, -0.08, -0.02),
        Comparison("a", "b", "auroc", "average:near", 0.5, 0.4, 0.6),  # not shown
        Comparison("a", "c", "fpr95", "set-1", 0.5, 0.4, 0.6),  # a single set is not, either
    ]
    table = gains(compared, TITLES)
    assert table.head == ("", "", "FPR95, all", "near", "far", "AUROC, all")
    assert table.lines == (
        (
            "guided",
            "over unguided",
            "+3.5 (+0.1 to +6.8) *",
            "",
            "-5.0 (-8.0 to -2.0) *",
            "+1.2 (-0.1 to +2.5)",
        ),
        ("guided", "over none", "", "", "", ""),
    )
