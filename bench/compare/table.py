# SPDX-License-Identifier: Apache-2.0
"""The table of scripts/bench: a line a figure, Lepus beside the others."""

HEAD = ("scenario", "", "figure", "Lepus", "RabbitMQ", "Mosquitto", "relay", "to RabbitMQ", "to Mosquitto", "to relay",
        "goal", "")
OTHERS = ("rabbitmq", "mosquitto", "relay")


def number(value, unit=""):
    if value is None:
        return "-"
    if unit == "/s":
        for size, letter in ((1e6, "M"), (1e3, "k")):
            if value >= size:
                return "%.3g %s/s" % (value / size, letter)
    digits = "%.0f" % value if abs(value) >= 1000 else "%.3g" % value
    return "%s %s" % (digits, {"us": "µs"}.get(unit, unit)) if unit else digits


def ratio(figure, mine, other):
    """How many times better Lepus is; below 1: worse."""
    if not mine or not other or mine <= 0 or other <= 0:
        return None
    return other / mine if figure.better == "less" else mine / other


def met(figure, mine):
    if figure.goal is None or mine is None:
        return ""
    return "met" if (mine <= figure.goal if figure.better == "less" else mine >= figure.goal) else "MISSED"


def lines(row, medians, quick):
    """Cells of a row's figures."""
    title = row.title + (row.quick if quick else "")
    out = []
    for index, figure in enumerate(row.figures):
        mine = medians.get("lepus", {}).get(figure.key)
        others = [medians.get(peer, {}).get(figure.key) for peer in OTHERS]
        out.append((title if index == 0 else "", row.durability if index == 0 else "", figure.words,
                    number(mine, figure.unit), *(number(other, figure.unit) for other in others),
                    *(number(ratio(figure, mine, other)) for other in others),
                    number(figure.goal, figure.unit) if figure.goal is not None else "",
                    met(figure, mine)))
    return out


def text(cells):
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
                     for line in cells)


def markdown(cells):
    return "\n".join("| %s |" % " | ".join(line) for line in
                     [cells[0], ["---"] * len(cells[0])] + list(cells[1:]))
