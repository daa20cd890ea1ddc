"""Charts: one PNG per benchmark, drawn from its JSON alone.

Takes `results/<name>.json`; gives `docs/images/<name>.png`. `measure.report` calls it.
"""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

IMAGES = Path(__file__).parents[1] / "docs" / "images"
_COLORS = ("#2a6f97", "#b0b7bf", "#d98e04", "#7a9e7e", "#8c5e99")


def draw_chart(result_path: Path) -> Path:
    """Draw the chart of one result.

    Args:
        result_path: The JSON that `measure.report` wrote.

    Returns:
        Path of the PNG.
    """
    result = json.loads(result_path.read_text(encoding="utf-8"))
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    height = 3.2 if result["lines"] else 1.3 + 0.35 * len(result["figures"])
    figure = Figure(figsize=(7.2, height), layout="constrained")
    axes = figure.subplots()
    (_draw_lines if result["lines"] else _draw_bars)(axes, result)
    axes.set_title(f"{result['name']}: {result['title']}", loc="left", fontsize=10)
    IMAGES.mkdir(parents=True, exist_ok=True)
    path = IMAGES / f"{result['name']}.png"
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return path


def _draw_bars(axes: Axes, result: dict[str, Any]) -> None:
    figures = result["figures"]
    medians = [one["median"] for one in figures.values()]
    below = [one["median"] - one["min"] for one in figures.values()]
    above = [one["max"] - one["median"] for one in figures.values()]
    colors = [_COLORS[place % len(_COLORS)] for place in range(len(figures))]
    drawn = axes.barh(
        list(figures), medians, xerr=[below, above], color=colors, ecolor="#444444", capsize=3
    )
    axes.bar_label(drawn, [f"{median:,.3g} {result['unit']}" for median in medians], padding=6)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel(f"{result['unit']}, median of several runs with least and most")


def _draw_lines(axes: Axes, result: dict[str, Any]) -> None:
    lines = result["lines"]
    for color, (name, points) in zip(_COLORS, lines["points"].items(), strict=False):
        axes.plot(*zip(*points, strict=True), marker="o", color=color, label=name)
    if lines["is_log"]:
        axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(lines["x"])
    axes.set_ylabel(lines["y"] or result["unit"])
    axes.legend(frameon=False)
