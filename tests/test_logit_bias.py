"""What docs/distributions.md claims: top-k is biased and draws are not, and which divergence covers or seeks."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

np = pytest.importorskip("numpy")

from benchmarks import divergences, logit_bias, plots  # noqa: E402
from benchmarks.logit_bias import average_error, bucketed, distance, draws_of, frequencies, renormalised  # noqa: E402

DOCS = Path(__file__).parents[1] / "docs"
TEACHER = logit_bias.zipf()


@pytest.mark.parametrize(("k", "bias"), [(12, 1.05), (20, 0.92), (50, 0.70)])
def test_renormalised_top_k_is_off_by_twice_the_tail_whatever_the_rows(k: int, bias: float) -> None:
    cut = renormalised(TEACHER, k)
    assert cut.sum() == pytest.approx(1) and (cut > 0).sum() == k
    assert distance(TEACHER, cut) == pytest.approx(2 * TEACHER[k:].sum()) == pytest.approx(bias, abs=0.01)


@pytest.mark.parametrize("k", [12, 20, 50])
def test_a_bucket_keeps_head_and_tail_mass_and_leaves_the_shape_open(k: int) -> None:
    even = bucketed(TEACHER, k, np.ones(len(TEACHER)))
    assert even.sum() == pytest.approx(1)
    assert (even[:k] == TEACHER[:k]).all() and even[k:].sum() == pytest.approx(TEACHER[k:].sum())
    assert 0.2 < distance(TEACHER, even) < 0.6 * distance(TEACHER, renormalised(TEACHER, k))
    assert distance(TEACHER, bucketed(TEACHER, k, TEACHER)) == pytest.approx(0, abs=1e-12)


def test_one_row_of_draws_is_worse_than_top_50_and_their_average_far_better() -> None:
    drawn = draws_of(TEACHER, 2_000, 50)
    each = np.stack([frequencies(row, len(TEACHER)) for row in drawn])
    biased = distance(TEACHER, renormalised(TEACHER, 50))
    assert np.abs(each - TEACHER).sum(axis=1).mean() > 1.5 * biased
    assert distance(TEACHER, each.mean(axis=0)) < 0.1 < biased / 7
    assert 32 < (each > 0).sum(axis=1).mean() < 35


def test_draws_are_unbiased_at_every_token_within_their_standard_errors() -> None:
    rows, draws = 4_000, 50
    counts = np.bincount(draws_of(TEACHER, rows, draws).ravel(), minlength=len(TEACHER))
    expected = rows * draws * TEACHER
    deviations = (counts - expected) / np.sqrt(expected * (1 - TEACHER))
    assert np.abs(deviations).max() < 5
    assert deviations.std() == pytest.approx(1, abs=0.1)
    assert counts[50:].sum() / counts.sum() == pytest.approx(TEACHER[50:].sum(), abs=0.005)


def test_the_error_of_an_average_falls_with_the_root_of_the_rows() -> None:
    assert average_error(TEACHER, 10_000, 50) == pytest.approx(average_error(TEACHER, 40_000, 50) * 2, rel=0.03)


def test_what_students_learn() -> None:
    steps = (100, 1_000, 3_000)
    made = {name: logit_bias.learn(TEACHER, t, steps) for name, t in logit_bias.targets(TEACHER, steps[-1]).items()}
    tail = TEACHER[50:].sum()
    even = bucketed(TEACHER, 50, np.ones(len(TEACHER)))
    cut, bucket = made["top-50, renormalised"], made["top-50 and tail bucket"][-1]
    assert cut[1].divergence < cut[2].divergence and cut[2].tail < tail / 10, "top-k unlearns the tail"
    assert bucket.tail == pytest.approx(tail, abs=0.002)
    assert bucket.divergence == pytest.approx(float(TEACHER @ np.log(TEACHER / even)), abs=0.005)
    drawn, whole = made["50 draws, new each row"][-1], made["all probabilities"][-1]
    assert whole.divergence < drawn.divergence < bucket.divergence / 4
    assert drawn.tail == pytest.approx(tail, abs=0.03)
    assert (
        drawn.divergence < made["12 draws, new each row"][-1].divergence < made["1 draw, new each row"][-1].divergence
    )
    assert made["50 draws, one row for ever"][-1].divergence > 10 * drawn.divergence, "learned by heart"


def test_forward_kl_has_the_teachers_moments() -> None:
    (only,) = divergences.fits(divergences.DIVERGENCES["forward KL"])
    assert only.mean == pytest.approx(0.6, abs=1e-3)
    assert only.deviation == pytest.approx(math.sqrt(1 + 9 - 0.36), abs=1e-3)
    assert only.starts == len(divergences.STARTS)


def test_reverse_kl_seeks_the_larger_mode_and_can_be_caught_elsewhere() -> None:
    best, *others = divergences.fits(divergences.DIVERGENCES["reverse KL"])
    assert best.mean == pytest.approx(3, abs=0.05) and best.deviation == pytest.approx(1, abs=0.05)
    assert best.value == pytest.approx(-math.log(0.6), abs=0.01)
    assert divergences.mass(best.log_density, -20, 0) < 0.01
    assert any(fit.mean == pytest.approx(-3, abs=0.05) and fit.value > best.value + 0.3 for fit in others)


def test_js_covers_with_a_small_beta_and_seeks_with_a_large_one() -> None:
    covering, half, seeking = (divergences.fits(divergences.DIVERGENCES[f"JS, beta 0.{n}"])[0] for n in (1, 5, 9))
    assert covering.deviation > 3 and half.deviation > 3 and seeking.deviation < 1.1
    assert 0 < half.value < math.log(2)


@pytest.mark.parametrize("name", divergences.DIVERGENCES)
def test_slopes_are_the_derivatives_of_the_values(name: str) -> None:
    divergence = divergences.DIVERGENCES[name]

    def value(mean: float) -> float:
        integrand = divergence.value(divergences.TEACHER, divergences.log_normal(mean, 2.0))
        return float(integrand.sum()) * divergences.SPACING

    student, score = divergences.log_normal(1.0, 2.0), (divergences.GRID - 1.0) / 4
    slope = float((divergence.slope(divergences.TEACHER, student) * score).sum()) * divergences.SPACING
    assert slope == pytest.approx((value(1.001) - value(0.999)) / 0.002, rel=1e-4)


def test_a_descent_that_has_not_come_to_rest_is_an_error() -> None:
    with pytest.raises(ArithmeticError, match="20 steps were too few"):
        divergences.fits(divergences.DIVERGENCES["JS, beta 0.5"], steps=20)


def test_the_document_shows_what_the_command_prints_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["logit_bias.py", "--plots", str(tmp_path)])
    logit_bias.main()
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    document = (DOCS / "distributions.md").read_text(encoding="utf-8").splitlines()
    assert len(printed) > 30
    assert [line for line in printed if line not in document] == []
    for name in ("topk-bias.svg", "divergences.svg"):
        assert (tmp_path / name).read_text(encoding="utf-8") == (DOCS / name).read_text(encoding="utf-8")


def test_a_plot_puts_points_where_its_axes_say() -> None:
    x, y = plots.Axis("<x>", 1, 100, (1, 10, 100), log=True), plots.Axis("y", -1, 1, (-1, 1))
    drawn = ElementTree.fromstring(plots.plot("A & B", x, y, [plots.Line("l", (1, 10, 100), (-1, 0, 1), "#123456")]))
    (line,) = drawn.iter("{http://www.w3.org/2000/svg}polyline")
    left, right = plots.LEFT, plots.WIDTH - plots.RIGHT
    top, bottom = plots.TOP, plots.HEIGHT - plots.BOTTOM
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert points == [(left, bottom), ((left + right) / 2, (top + bottom) / 2), (right, top)]
    texts = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["A & B", "1", "10", "100", "-1", "1", "<x>", "y", "l"]
