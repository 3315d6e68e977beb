# SPDX-License-Identifier: Apache-2.0
"""Pictures of scripts/bench: how many times better than RabbitMQ, and latency curves of all peers."""
import html
import math

import table

INK, FAINT, QUIET = "#1f2933", "#e4e7eb", "#7b8794"
COLOURS = {"lepus": "#2563eb", "rabbitmq": "#d97706", "mosquitto": "#0f9d6b", "relay": "#7b8794"}
NAMES = {"lepus": "Lepus", "rabbitmq": "RabbitMQ", "mosquitto": "Mosquitto", "relay": "bare relay"}
HEAD = ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-size="13" fill="' + INK +
        '" font-family="system-ui, Helvetica, Arial, sans-serif">\n<rect width="100%%" height="100%%" fill="#fff"/>\n')


def write(x, y, words, colour=INK, anchor="start", more=""):
    return '<text x="%.1f" y="%.1f" fill="%s" text-anchor="%s"%s>%s</text>\n' % (
        x, y, colour, anchor, more, html.escape(words))


def title(words, below):
    return (write(24, 34, words, more=' font-size="19" font-weight="600"') + write(24, 56, below, QUIET))


def ratios(path, results, below):
    """A bar a figure: Lepus beside RabbitMQ, on a logarithmic axis."""
    bars = []
    for row, medians in results:
        for figure in row.figures:
            times = table.ratio(figure, medians.get("lepus", {}).get(figure.key),
                                medians.get("rabbitmq", {}).get(figure.key))
            if times:
                bars.append((row.title, figure.words, times))
    if not bars:
        return
    left, right, top, step = 430, 90, 84, 26
    width, height = 900, top + step * len(bars) + 48
    most = 10 ** math.ceil(math.log10(max(max(bar[2] for bar in bars), 10)))
    least = 10 ** math.floor(math.log10(min(min(bar[2] for bar in bars), 1)))
    x = lambda value: left + (width - left - right) * math.log(value / least) / math.log(most / least)
    out = HEAD % (width, height) + title("How many times better than RabbitMQ", below)
    mark = least
    while mark <= most * 1.001:
        out += '<path d="M%.1f %dV%d" stroke="%s"/>\n' % (x(mark), top - 8, height - 40, INK if mark == 1 else FAINT)
        out += write(x(mark), height - 20, "%g" % mark, QUIET, "middle")
        mark *= 10
    for index, (scenario, words, times) in enumerate(bars):
        y = top + step * index
        from_x, to_x = sorted((x(1), x(times)))
        out += '<rect x="%.1f" y="%.1f" width="%.1f" height="16" rx="3" fill="%s"/>\n' % (
            from_x, y, max(to_x - from_x, 1), COLOURS["lepus"] if times >= 1 else COLOURS["rabbitmq"])
        again = index > 0 and bars[index - 1][0] == scenario
        out += write(left - 12, y + 12, words if again else "%s: %s" % (scenario, words), anchor="end",
                     more=' font-size="12"')
        out += write(to_x + 6, y + 12, "%.3g" % times, more=' font-weight="600"')
    with open(path, "w") as file:
        file.write(out + "</svg>\n")


def latency(path, curves, below):
    """`curves`: {peer: [[share, us], ...]}; axes as in lepus-bench --svg."""
    curves = {peer: points for peer, points in curves.items() if len(points) > 1}
    if not curves:
        return
    width, height, left, right, top, bottom = 860, 520, 78, 150, 84, 62
    values = [us for points in curves.values() for _, us in points if us > 0]
    low, high = 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values)))
    nines = 5
    x = lambda share: left + (width - left - right) * min(-math.log10(max(1 - share, 1e-9)), nines) / nines
    y = lambda us: height - bottom - (height - top - bottom) * math.log(max(us, low) / low) / math.log(high / low)
    out = HEAD % (width, height) + title("Latency at 10,000 messages a second", below)
    mark = low
    while mark <= high * 1.001:
        out += '<path d="M%d %.1fH%d" stroke="%s"/>\n' % (left, y(mark), width - right, FAINT)
        words = "%g µs" % mark if mark < 1000 else "%g ms" % (mark / 1000)
        out += write(left - 10, y(mark) + 4, words, QUIET, "end")
        mark *= 10
    for n, words in enumerate(("0", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %")):
        out += '<path d="M%.1f %dV%d" stroke="%s"/>\n' % (x(1 - 10 ** -n), top, height - bottom, FAINT)
        out += write(x(1 - 10 ** -n), height - bottom + 22, words, QUIET, "middle")
    taken = []
    for peer, points in curves.items():
        line = " ".join("%.1f,%.1f" % (x(share), y(us)) for share, us in points)
        out += '<polyline fill="none" stroke="%s" stroke-width="2.5" stroke-linejoin="round" points="%s"/>\n' % (
            COLOURS[peer], line)
        label = y(points[-1][1]) + 4
        while any(abs(label - other) < 16 for other in taken):
            label += 4
        taken.append(label)
        out += write(x(points[-1][0]) + 8, label, NAMES[peer], COLOURS[peer], more=' font-weight="600"')
    out += write((left + width - right) / 2, height - 14, "of the messages were at least as fast", QUIET, "middle")
    with open(path, "w") as file:
        file.write(out + "</svg>\n")
