"""Charts as SVG that lies in the page: text as text, colours as the page's (light and dark), no style attributes.

matplotlib draws with stand-in colours, each of which becomes a CSS variable; the styles it writes into attributes,
which the page's content security policy forbids, become classes of one style sheet.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from loopkit.report.numbers import stretches

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, GRID, MUTED = "#000001", "#000002", "#000003"
SERIES = tuple(f"#0000{k:02x}" for k in range(0x10, 0x18))
"""Stand-ins of the eight series colours (Okabe and Ito's, with lighter ones on a dark page)."""
DASHES: Sequence[Any] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.5, 1.2)),
    (0, (6, 1.5, 1.5, 1.5)),
    (0, (3, 1)),
    "-",
    (0, (5, 1.5)),
    "-",
)
"""Line styles beside the colours: nothing is told by colour alone."""
VARIABLES = {INK: "var(--ink)", GRID: "var(--grid)", MUTED: "var(--muted)",
             **{c: f"var(--s{k})" for k, c in enumerate(SERIES)}}  # fmt: skip
SIZE = (4.5, 2.9)
"""Inches of 72 units: at 400 pixels of width its text is still 11 pixels high."""
POINTS = 300
"""Points of one drawn line; more steps are drawn as means of equal stretches."""
SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"


class Sheet:
    """Collects the styles of a page's charts as classes, each once."""

    def __init__(self) -> None:
        self._classes: dict[str, str] = {}
        self._charts = 0

    def css(self) -> str:
        return "\n".join(f".{name}{{{style}}}" for style, name in self._classes.items())

    def _class(self, style: str) -> str:
        for stand_in, variable in VARIABLES.items():
            style = style.replace(stand_in, variable)
        return self._classes.setdefault(style, f"g{len(self._classes)}")

    def draw(self, label: str, draw: Callable[[Axes], None], size: tuple[float, float] = SIZE) -> str:
        """One chart. ``label`` is what it says to those who cannot see it."""
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        settings: dict[str, Any] = {
            "svg.fonttype": "none", "svg.hashsalt": "loopkit", "font.size": 10, "font.family": "DejaVu Sans",
            "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": MUTED, "xtick.color": INK,
            "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "grid.color": GRID,
            "axes.axisbelow": True, "lines.solid_capstyle": "round", "path.simplify": True, "axes.unicode_minus": True,
            "text.parse_math": False,
        }  # fmt: skip
        with matplotlib.rc_context(settings):
            figure = Figure(figsize=size, layout="constrained", facecolor="none")
            FigureCanvasSVG(figure)
            axes = figure.add_subplot(facecolor="none")
            axes.grid(True, linewidth=0.6)
            draw(axes)
            out = io.StringIO()
            figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        self._charts += 1
        return self._clean(out.getvalue(), label, f"c{self._charts}-")

    def _clean(self, text: str, label: str, prefix: str) -> str:
        ElementTree.register_namespace("", SVG)
        ElementTree.register_namespace("xlink", XLINK)
        root = ElementTree.fromstring(text)
        for parent in list(root.iter()):
            for child in list(parent):
                if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                    parent.remove(child)
        for node in root.iter():
            if style := node.attrib.pop("style", None):
                names = [
                    re.sub(r"url\(#", f"url(#{prefix}", re.sub(r"font: ([\d.]+)px [^;]*", r"font-size: \1px", style))
                ]
                node.set("class", " ".join(self._class(s) for s in names))
            if "id" in node.attrib:
                node.set("id", prefix + node.attrib["id"])
            for key in (f"{{{XLINK}}}href", "clip-path"):
                if key in node.attrib:
                    node.set(key, node.attrib[key].replace("#", f"#{prefix}"))
        for key in ("width", "height"):
            root.attrib.pop(key, None)
        for key, value in (("role", "img"), ("aria-label", label), ("class", "chart")):
            root.set(key, value)
        return ElementTree.tostring(root, encoding="unicode")


def thinned(xs: Sequence[float], ys: Sequence[float | None]) -> tuple[list[float], list[float]]:
    """At most POINTS points of a curve; nan where a stretch was not measured."""
    nan = float("nan")
    if len(ys) <= POINTS:
        return list(xs), [nan if y is None else y for y in ys]

    def mean(part: Sequence[float | None]) -> float:
        seen = [v for v in part if v is not None]
        return sum(seen) / len(seen) if seen else nan

    return [mean(p) for p in stretches(list(xs), POINTS)], [mean(p) for p in stretches(ys, POINTS)]


Curves = Mapping[str, Sequence[tuple[Sequence[float], Sequence[float | None]]]]
"""Series -> one (xs, ys) a seed."""


def training(
    axes: Axes, curves: Curves, colours: Mapping[str, int], *, marks: Sequence[tuple[str, float, int]] = (),
    scale: float = 1.0, y_title: str = "", steps: int = 0, bounds: tuple[float, float] | None = None,
) -> None:  # fmt: skip
    """Every seed thin, the mean over seeds thick. ``marks``: ("onset" or "domination", step, seed's place).

    ``bounds``: of the y axis, where charts are compared; a little is left free beyond them.
    """
    for name, seeds in curves.items():
        k = colours[name]
        style: dict[str, Any] = {"color": SERIES[k % 8], "linestyle": DASHES[k % 8]}
        for xs, ys in seeds:
            x, y = thinned(xs, ys)
            axes.plot(x, [scale * v for v in y], linewidth=0.8, alpha=0.45, color=SERIES[k % 8])
        middle = mean_curve(seeds)
        if middle[0]:
            x, y = thinned(*middle)
            axes.plot(x, [scale * v for v in y], linewidth=2.2, label=name, **style)
    low, high = axes.get_ylim()
    if bounds is not None:
        free = 0.02 * (bounds[1] - bounds[0])
        low, high = bounds[0] - free, bounds[1] + free
        axes.plot([0], [1.09], "D", markersize=6, alpha=0, clip_on=False, transform=axes.get_xaxis_transform())
        # unseen: a chart without marks keeps the same room for them, so that equal heights are equal rates
    above = axes.get_xaxis_transform()
    for mark, step, _ in marks:
        solid = mark == "onset"
        look: dict[str, Any] = {"marker": "v" if solid else "D", "markerfacecolor": INK if solid else "none"}
        axes.plot([step], [1.03 if solid else 1.09], markersize=6, clip_on=False, transform=above, color=INK, **look)
        axes.axvline(step, color=MUTED, linewidth=0.7, linestyle="-" if solid else ":")
    axes.set_ylim(low, high)
    if steps > 1:
        axes.set_xlim(0, steps - 1)
    axes.set_xlabel("step")
    axes.set_ylabel(y_title)


def mean_curve(
    seeds: Sequence[tuple[Sequence[float], Sequence[float | None]]],
) -> tuple[list[float], list[float | None]]:
    """The mean over seeds where every seed has a value."""
    at: dict[float, list[float]] = {}
    for xs, ys in seeds:
        for x, y in zip(xs, ys, strict=True):
            if y is not None:
                at.setdefault(x, []).append(y)
    whole = {x: v for x, v in sorted(at.items()) if len(v) == len(seeds)}
    return list(whole), [sum(v) / len(v) for v in whole.values()]
