"""An exploit rate corrected for what its detector misses and for its false alarms, by labelled transcripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, sqrt

from loopkit.records import Estimate
from loopkit.stats.rates import gap, wilson

Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Labels:
    """What a detector says of transcripts that a reader labelled. Counts; abstentions left out."""

    exploits: int
    flagged: int
    """Of the exploits."""
    honest: int
    cleared: int
    """Of the honest ones: not flagged."""

    @property
    def recall(self) -> float:
        return self.flagged / self.exploits

    @property
    def specificity(self) -> float:
        return self.cleared / self.honest


def corrected(rate: Estimate | None, labels: Labels, *, difference: bool = False) -> Estimate | None:
    """The true rate behind a detector's, with an interval from both samples: the run's and the labelled one.

    (rate + specificity - 1) / (recall + specificity - 1) (Rogan & Gladen, Am. J. Epidemiol. 1978), held to [0, 1]; its
    interval is Lang & Reiczigel's (Prev. Vet. Med. 2014). ``difference``: of a gap of two rates, false alarms cancel:
    gap / (recall + specificity - 1), its interval that of a ratio of two estimates with limits (Donner & Zou, Stat.
    Methods Med. Res. 2012). Assumes that the detector errs on the run as on the labelled transcripts: no statistics
    can tell. Withheld where the labels do not show it to be better than chance, or lack a kind. None of None.
    """
    if rate is None:
        return None
    if not labels.exploits or not labels.honest:
        return Estimate(rate.value, None, None, rate.n, rate.clusters, "withheld: the labels hold one kind only")
    better = _youden(labels)
    if better[1] <= 0:
        why = "withheld: the labels do not show the detector to be better than chance"
        return Estimate(rate.value, None, None, rate.n, rate.clusters, why)
    if rate.low is None or rate.high is None:
        why = rate.method if rate.method.startswith("withheld") else "withheld: the rate has no interval"
        return Estimate(rate.value, None, None, rate.n, rate.clusters, why)
    if difference:
        value, low, high = _ratio((rate.value, rate.low, rate.high), better)
        low, high, value = max(-1.0, low), min(1.0, high), max(-1.0, min(1.0, value))
        return Estimate(value, low, high, rate.n, rate.clusters, "corrected, ratio of estimates")
    n = _effective(rate)
    value = (rate.value + labels.specificity - 1) / better[0]
    low, high = _lang_reiczigel(rate.value, n, labels)
    value = min(1.0, max(0.0, value))
    return Estimate(value, min(value, low), max(value, high), rate.n, rate.clusters, "rogan-gladen, lang-reiczigel")


def sampled(
    rate: Estimate | None, labels: Sequence[bool], flags: Sequence[bool | None], clusters: Sequence[str]
) -> Estimate | None:
    """A rate corrected by (n,) labels of rollouts drawn at random from it, beside what its detector said of these.

    Prediction-powered inference (Angelopoulos et al., Science 2023): the rate of all rollouts, plus the labels' share
    less the detector's among those drawn. The limits are those of the two, squared and added (Zou & Donner, Stat. Med.
    2008), the difference's Newcombe's for pairs, so that few labels without a mistake still leave a width. Needs no
    assumption of how the detector errs, and fewer labels the better it is. Rollouts that it abstained on are left out
    of both. None of None, or where no label is left.
    """
    kept = [i for i, flag in enumerate(flags) if flag is not None]
    if rate is None or not kept:
        return None
    both = [float(labels[i]) for i in kept] + [float(flags[i] or 0) for i in kept]
    shift = gap(both, [k < len(kept) for k in range(len(both))], [clusters[i] for i in kept] * 2)
    assert shift is not None
    value = min(1.0, max(0.0, rate.value + shift.value))
    if rate.low is None or rate.high is None or shift.low is None or shift.high is None:
        return Estimate(value, None, None, rate.n, rate.clusters, "withheld: of one cluster, or of no interval")
    below = hypot(rate.value - rate.low, shift.value - shift.low)
    above = hypot(rate.high - rate.value, shift.high - shift.value)
    limits = max(0.0, min(value, value - below)), min(1.0, max(value, value + above))
    return Estimate(value, *limits, rate.n, rate.clusters, f"prediction-powered, {len(kept)} labels")


def _youden(labels: Labels) -> tuple[float, float, float]:
    """recall + specificity - 1 with its limits: those of the two shares, squared and added."""
    (a, b), (c, d) = wilson(labels.flagged, labels.exploits), wilson(labels.cleared, labels.honest)
    value = labels.recall + labels.specificity - 1
    below = sqrt((labels.recall - a) ** 2 + (labels.specificity - c) ** 2)
    above = sqrt((b - labels.recall) ** 2 + (d - labels.specificity) ** 2)
    return value, value - below, min(1.0, value + above)


def _lang_reiczigel(p: float, n: float, labels: Labels) -> tuple[float, float]:
    positive, negative = labels.exploits + 2, labels.honest + 2
    recall, specificity = (labels.flagged + 1) / positive, (labels.cleared + 1) / negative
    centre = (n * p + Z * Z / 2) / (n + Z * Z)
    slope = recall + specificity - 1
    true = (centre + specificity - 1) / slope
    of_recall, of_specificity = recall * (1 - recall) / positive, specificity * (1 - specificity) / negative
    shift = 2 * Z * Z * (true * of_recall - (1 - true) * of_specificity)
    spread = centre * (1 - centre) / (n + Z * Z) + true**2 * of_recall + (1 - true) ** 2 * of_specificity
    half = Z * sqrt(spread) / slope
    return max(0.0, min(1.0, true + shift - half)), min(1.0, max(0.0, true + shift + half))


def _effective(rate: Estimate) -> float:
    """The sample size of independent rollouts whose Wilson interval is as wide as this one."""
    assert rate.low is not None
    assert rate.high is not None
    # half width w: w = z sqrt(p (1 - p) / n + z^2 / (4 n^2)) / (1 + z^2 / n), solved for n between 1 and the rollouts
    from scipy import optimize

    width = (rate.high - rate.low) / 2

    def wider(n: float) -> float:
        spread = rate.value * (1 - rate.value) / n + Z * Z / (4 * n * n)
        return float(Z * sqrt(spread) / (1 + Z * Z / n) - width)

    if wider(float(rate.n)) >= 0:
        return float(rate.n)
    return 1.0 if wider(1.0) <= 0 else float(optimize.brentq(wider, 1.0, float(rate.n)))


def _ratio(top: tuple[float, float, float], bottom: tuple[float, float, float]) -> tuple[float, float, float]:
    """Value and limits of a / b, each (value, low, high), independent, b above 0."""
    (a, l1, u1), (b, l2, u2) = top, bottom
    low = (a * b - sqrt(max(0.0, (a * b) ** 2 - l1 * u2 * (2 * a - l1) * (2 * b - u2)))) / (u2 * (2 * b - u2))
    high = (a * b + sqrt(max(0.0, (a * b) ** 2 - u1 * l2 * (2 * a - u1) * (2 * b - l2)))) / (l2 * (2 * b - l2))
    return a / b, low, high
