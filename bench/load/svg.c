/* SPDX-License-Identifier: Apache-2.0 */
/*
 * svg.c - the latency curve as a picture: how many of a hundred, a thousand,
 * ... messages were faster than what. Both axes are logarithmic, the one
 * below in nines, so that the tail takes the room that it deserves.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "report.h"

#define WIDTH    860.0
#define HEIGHT   520.0
#define LEFT     78.0
#define RIGHT    150.0
#define TOP      84.0
#define BOTTOM   62.0
#define NINES    5 /* 99.999 % is as far right as it goes */
#define STEPS    400
#define LABELS   3
#define INK      "#1f2933"
#define FAINT    "#e4e7eb"
#define QUIET    "#7b8794"
#define DELIVERY "#2563eb"
#define CONFIRM  "#d97706"

struct curve {
    const struct load_hdr *hdr;
    const char *name;
    const char *colour;
    bool below; /* where its labels are: a second curve may run on the first */
};

struct plot {
    FILE *out;
    double low_us; /* powers of ten */
    double high_us;
    double nines; /* at the right edge */
};

static double
x_of(const struct plot *plot, double nines)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * nines / plot->nines;
}

static double
y_of(const struct plot *plot, double us)
{
    const double share =
        log10(LP_MAX(us, plot->low_us) / plot->low_us) / log10(plot->high_us / plot->low_us);
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share;
}

static double
us_at(const struct curve *curve, double nines)
{
    return (double)load_hdr_quantile(curve->hdr, 1.0 - pow(10.0, -nines)) / 1e3;
}

static void
put_escaped(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        const char *word = *text == '<' ? "&lt;" : *text == '&' ? "&amp;" : NULL;
        (void)(word ? fputs(word, out) : fputc(*text, out));
    }
}

static void
put_time(FILE *out, double us)
{
    if (us >= 1e6) {
        (void)fprintf(out, "%.3g s", us / 1e6);
    } else if (us >= 1e3) {
        (void)fprintf(out, "%.3g ms", us / 1e3);
    } else {
        (void)fprintf(out, "%.3g µs", us);
    }
}

static void
put_head(const struct plot *plot, const struct load_run *run, const struct load_figures *f)
{
    const struct load_options *o = &run->options;
    (void)fprintf(plot->out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
                  "font-family=\"system-ui, Helvetica, Arial, sans-serif\" font-size=\"13\" "
                  "fill=\"" INK "\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
                  WIDTH, HEIGHT);
    (void)fprintf(plot->out, "<text x=\"%.0f\" y=\"34\" font-size=\"19\" font-weight=\"600\">",
                  LEFT);
    put_escaped(plot->out, o->title ? o->title : "Latency");
    (void)fprintf(plot->out,
                  "</text>\n<text x=\"%.0f\" y=\"56\" fill=\"" QUIET "\">%.0f messages/s sent "
                  "(%s), %u bytes, %u publishers, %u consumers, %.0f s%s</text>\n",
                  LEFT, f->sent_rate,
                  o->rate <= 0 ? "closed loop"
                  : o->poisson ? "open loop, Poisson"
                               : "open loop",
                  o->size, o->publishers, o->consumers, f->seconds,
                  run->tally.late ? ", generator late" : "");
}

static void
put_grid(const struct plot *plot)
{
    const int decades = (int)lround(log10(plot->high_us / plot->low_us));
    for (int i = 0; i <= decades; i++) {
        const double us = plot->low_us * pow(10, i);
        (void)fprintf(plot->out,
                      "<path d=\"M%.1f %.1fH%.1f\" stroke=\"" FAINT "\"/>"
                      "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\" fill=\"" QUIET "\">",
                      LEFT, y_of(plot, us), WIDTH - RIGHT, LEFT - 10, y_of(plot, us) + 4);
        put_time(plot->out, us);
        (void)fprintf(plot->out, "</text>\n");
    }
    static const char *const names[] = {"0", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"};
    for (int i = 0; i <= (int)plot->nines; i++) {
        (void)fprintf(
            plot->out,
            "<path d=\"M%.1f %.1fV%.1f\" stroke=\"" FAINT "\"/>"
            "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" fill=\"" QUIET "\">%s</text>\n",
            x_of(plot, i), TOP, HEIGHT - BOTTOM, x_of(plot, i), HEIGHT - BOTTOM + 22, names[i]);
    }
    (void)fprintf(plot->out,
                  "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" fill=\"" QUIET
                  "\">of the messages were at least as fast</text>\n",
                  (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14);
}

/* A dot at p50, p99 and p99.9, with its value. */
static void
put_marks(const struct plot *plot, const struct curve *curve, double end)
{
    static const double marks[LABELS] = {0.30103, 2, 3};
    for (int i = 0; i < LABELS && marks[i] <= end; i++) {
        const double us = us_at(curve, marks[i]);
        const double x = x_of(plot, marks[i]);
        const double y = y_of(plot, us);
        (void)fprintf(plot->out,
                      "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\" stroke=\"#fff\"/>"
                      "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\">",
                      x, y, curve->colour, curve->below ? x + 6 : x - 6,
                      curve->below ? y + 18 : y - 8, curve->below || i == 0 ? "start" : "end",
                      curve->colour);
        put_time(plot->out, us);
        (void)fprintf(plot->out, "</text>\n");
    }
}

static void
put_curve(const struct plot *plot, const struct curve *curve)
{
    (void)fprintf(plot->out,
                  "<path fill=\"none\" stroke=\"%s\" stroke-width=\"2.5\" "
                  "stroke-linejoin=\"round\" d=\"",
                  curve->colour);
    /* Where a curve rests on less than one message it ends. */
    const double end = LP_MIN(plot->nines, log10((double)curve->hdr->count));
    double y = 0;
    for (int i = 0; i <= STEPS; i++) {
        const double nines = end * i / STEPS;
        y = y_of(plot, us_at(curve, nines));
        (void)fprintf(plot->out, "%s%.1f %.1f", i ? "L" : "M", x_of(plot, nines), y);
    }
    (void)fprintf(plot->out,
                  "\"/>\n<text x=\"%.1f\" y=\"%.1f\" fill=\"%s\" font-weight=\"600\">%s</text>\n",
                  x_of(plot, end) + 8, y + (curve->below ? 14 : -4), curve->colour, curve->name);
    put_marks(plot, curve, end);
}

static void
range_of(struct plot *plot, const struct curve *curves, int count)
{
    double low = 1e12;
    double high = 0;
    double nines = 2;
    for (int i = 0; i < count; i++) {
        low = LP_MIN(low, us_at(&curves[i], 0));
        high = LP_MAX(high, (double)curves[i].hdr->max_ns / 1e3);
        nines = LP_MAX(nines, ceil(log10((double)curves[i].hdr->count)));
    }
    plot->nines = LP_MIN(nines, NINES);
    plot->low_us = pow(10, floor(log10(LP_MAX(low, 0.1))));
    plot->high_us = LP_MAX(pow(10, ceil(log10(LP_MAX(high, 0.1)))), plot->low_us * 10);
}

bool
load_report_svg(const struct load_run *run, const struct load_figures *f, const char *path)
{
    struct plot plot = {.out = fopen(path, "w")};
    if (plot.out == NULL) {
        (void)fprintf(stderr, "lepus-bench: %s: %s\n", path, strerrordesc_np(errno));
        return false;
    }
    struct curve curves[2];
    int count = 0;
    if (run->tally.delivery->count != 0) {
        curves[count++] = (struct curve){run->tally.delivery, "delivery", DELIVERY, false};
    }
    if (run->tally.confirm->count != 0) {
        curves[count] = (struct curve){run->tally.confirm, "confirm", CONFIRM, count > 0};
        count++;
    }
    range_of(&plot, curves, count);
    put_head(&plot, run, f);
    put_grid(&plot);
    for (int i = 0; i < count; i++) {
        put_curve(&plot, &curves[i]);
    }
    (void)fprintf(plot.out, "</svg>\n");
    const bool good = !ferror(plot.out);
    return fclose(plot.out) == 0 && good;
}
