/* SPDX-License-Identifier: MIT */
#include "cli/timeline.h"

#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "proto/codec.h"

/* In pixels. */
enum { WIDTH = 1600, LEFT = 150, RIGHT = 90, TOP = 118, RAIL = 26, BOTTOM = 92, LANES = 640, LANE_MOST = 64, LANE_LEAST = 7,
       QUEUE = 4, LEVELS = 4, OUTLINED = 3 };
enum { COLOURS = 12, MOST_STEPS = 56, MOST_PARTS = 3200, MOST_JOBS = 4096 };

/* Legible on white and on black. */
static const char *const colours[COLOURS] = {"#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#af7aa1", "#76b7b2",
                                             "#d4a72c", "#9c755f", "#ff8fa3", "#5b8ff9", "#8cbf5a", "#c2548f"};

typedef struct picture {
  const tri_timeline *t;
  tri_buf svg;
  size_t first, n;       /* steps that are shown, some of them in part */
  int64_t from_us, to_us;
  double lane, pitch;    /* a lane's height; from one to the next */
  double bottom;         /* of the last lane's way to the coordinator */
  uint64_t jobs[MOST_JOBS]; /* ascending */
  size_t n_jobs;
} picture;

/* --- what is shown --- */

static const tri_steps_one *step_at(const picture *p, size_t i) { return &p->t->steps->one[p->first + i]; }
static int64_t back_us(const tri_steps_one *one) { return one->sent_us + one->took_us; }

/* About the middle: as many steps as are still told apart, from the first one's leaving to the last one's. */
static bool choose(picture *p) {
  const tri_steps *s = p->t->steps;
  size_t from = 0, middle = 0, parts = 0, last;
  int64_t middle_us = p->t->from_us + (p->t->to_us - p->t->from_us) / 2;
  while (from < s->n && (s->one[from].epoch != s->one[s->n - 1].epoch || s->one[from].sent_us < p->t->from_us)) from++;
  for (middle = from; middle < s->n && s->one[middle].sent_us < middle_us;) middle++;
  size_t begin = middle > from + MOST_STEPS / 2 ? middle - MOST_STEPS / 2 : from;
  for (last = begin; last < s->n && last < begin + MOST_STEPS && back_us(&s->one[last]) <= p->t->to_us; last++) {
    parts += (size_t)s->one[last].n_stages * s->one[last].n_runs;
    if (parts > MOST_PARTS) break;
  }
  if (last < begin + 2) return false;
  p->from_us = s->one[begin].sent_us, p->to_us = last < begin + MOST_STEPS ? back_us(&s->one[last - 1]) : s->one[last - 1].sent_us;
  while (begin > from && back_us(&s->one[begin - 1]) > p->from_us) begin--;
  p->first = begin, p->n = last - begin;
  return p->to_us > p->from_us;
}

static void note_job(picture *p, uint64_t job) {
  size_t i = p->n_jobs;
  while (i > 0 && p->jobs[i - 1] > job) i--;
  if ((i > 0 && p->jobs[i - 1] == job) || p->n_jobs == MOST_JOBS) return;
  memmove(p->jobs + i + 1, p->jobs + i, (p->n_jobs++ - i) * sizeof *p->jobs);
  p->jobs[i] = job;
}

static void note_jobs(picture *p) {
  for (size_t i = 0; i < p->n; i++)
    for (uint32_t j = 0; j < step_at(p, i)->n_runs; j++) note_job(p, p->t->steps->runs[step_at(p, i)->runs + j].job);
}

static size_t job_index(const picture *p, uint64_t job) {
  size_t i = 0;
  while (i < p->n_jobs && p->jobs[i] != job) i++;
  return i;
}

/* --- places --- */

static double x_of(const picture *p, int64_t us) {
  return LEFT + (double)(us - p->from_us) * (WIDTH - LEFT - RIGHT) / (double)(p->to_us - p->from_us);
}
static double lane_top(const picture *p, uint32_t stage) { return TOP + RAIL + p->pitch * (stage + 1) - p->lane; }

/* --- drawing --- */

/* From a file's name, or a worker's. */
static void put_text(picture *p, const char *text) {
  for (; *text; text++) {
    if (*text == '<' || *text == '>' || *text == '&' || *text == '"') tri_buf_printf(&p->svg, "&#%d;", *text);
    else tri_buf_byte(&p->svg, (unsigned char)*text < ' ' ? '?' : (uint8_t)*text);
  }
}

static void put_rect(picture *p, const char *class, double x, double y, double width, double height) {
  tri_buf_printf(&p->svg, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>", class, x, y, width, height);
}

static void put_head(picture *p, double height) {
  tri_buf_printf(&p->svg,
                 "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" height=\"%.0f\" role=\"img\">\n<style>\n"
                 "text{font:13px system-ui,'DejaVu Sans',sans-serif;fill:#24292f}.t{font-size:20px;font-weight:600}.d{fill:#57606a}"
                 ".e{text-anchor:end}.m{text-anchor:middle}\n"
                 ".b{fill:#fff}.l{fill:#f9dcd7}.g{stroke:#d0d7de}.r{stroke:#57606a;stroke-width:1.5}\n"
                 ".w{fill:none;stroke:#8c959f;stroke-width:.8;stroke-opacity:.8}.q{fill:none;stroke:#57606a;stroke-width:2}\n"
                 ".o{fill:none;stroke:#fff;stroke-width:.7}.h{fill:url(#h)}\n",
                 WIDTH, height, WIDTH, height);
  for (int i = 0; i < COLOURS; i++) tri_buf_printf(&p->svg, ".c%d{fill:%s}", i, colours[i]);
  tri_buf_printf(&p->svg,
                 "\n@media (prefers-color-scheme:dark){text{fill:#e6edf3}.d{fill:#9198a1}.b{fill:#0d1117}.l{fill:#4a2723}.g{stroke:#30363d}"
                 ".r{stroke:#9198a1}.w{stroke:#9198a1}.q{stroke:#c9d1d9}.o{stroke:#0d1117}}\n</style>\n"
                 "<defs><pattern id=\"h\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">"
                 "<path d=\"M1 0V5\" stroke=\"#000\" stroke-opacity=\".45\" stroke-width=\"2\"/></pattern>"
                 "<clipPath id=\"k\"><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%.0f\"/></clipPath></defs>\n"
                 "<rect class=\"b\" width=\"%d\" height=\"%.0f\"/>\n",
                 LEFT, TOP - 2, WIDTH - LEFT - RIGHT, p->bottom - TOP + 4, WIDTH, height);
}

static void put_titles(picture *p) {
  const tri_steps_measure *m = p->t->measure;
  tri_buf_printf(&p->svg, "<text class=\"t\" x=\"24\" y=\"38\">");
  put_text(p, p->t->title);
  tri_buf_printf(&p->svg,
                 "</text>\n<text x=\"24\" y=\"62\">The busiest stage did nothing for %.0f %% of the time, all of them on average for "
                 "%.0f %%. %.1f steps on their way, %.1f rows each.</text>\n",
                 100 * m->bubble_slowest, 100 * m->bubble_mean, m->on_way, m->rows);
  tri_buf_printf(&p->svg,
                 "<text x=\"24\" y=\"82\" class=\"d\">A step's round trip of %.2f ms: %.2f computing, %.2f waiting in queues, "
                 "%.2f on %u ways. Shown: %.1f ms of %.2f s.</text>\n",
                 m->took_us / 1e3, m->compute_us / 1e3, m->wait_us / 1e3, m->hop_us * (m->n_stages + 1) / 1e3, m->n_stages + 1,
                 (double)(p->to_us - p->from_us) / 1e3, m->seconds);
}

/* A text in its place; class and text are ours. */
static void put_label(picture *p, const char *class, double x, double y, const char *text) {
  tri_buf_printf(&p->svg, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">%s</text>", class, x, y, text);
}

/* 1, 2 or 5 times a power of ten, so that there are about a dozen. */
static int64_t tick_us(int64_t span_us) {
  int64_t tick = 1;
  for (int i = 0; tick * 14 < span_us; i++) tick = i % 3 == 1 ? tick / 2 * 5 : tick * 2;
  return tick;
}

static void put_axis(picture *p) {
  int64_t tick = tick_us(p->to_us - p->from_us);
  char text[32];
  for (int64_t us = 0; us <= p->to_us - p->from_us; us += tick) {
    double x = x_of(p, p->from_us + us);
    snprintf(text, sizeof text, "%g%s", (double)us / 1e3, us ? "" : " ms");
    tri_buf_printf(&p->svg, "<path class=\"g\" d=\"M%.1f %dV%.1f\"/>", x, TOP, p->bottom);
    put_label(p, "m d", x, p->bottom + 18, text);
  }
}

static void put_lanes(picture *p) {
  char text[32];
  for (uint32_t i = 0; i < p->t->measure->n_stages; i++) {
    double y = lane_top(p, i), middle = y + p->lane / 2 + 5;
    put_rect(p, "l", LEFT, y, WIDTH - LEFT - RIGHT, p->lane);
    tri_buf_printf(&p->svg, "<text class=\"e\" x=\"%d\" y=\"%.1f\">%u ", LEFT - 10, middle, i + 1);
    put_text(p, p->t->names[i]);
    tri_buf_printf(&p->svg, "</text>");
    snprintf(text, sizeof text, "%.0f %%", 100 * p->t->measure->stage[i].busy);
    put_label(p, "", WIDTH - RIGHT + 10, middle, text);
  }
  put_label(p, "d", WIDTH - RIGHT + 10, TOP + 4, "busy");
  const double rails[] = {TOP, p->bottom};
  for (int i = 0; i < 2; i++) {
    tri_buf_printf(&p->svg, "<path class=\"r\" d=\"M%d %.1fH%d\"/>", LEFT, rails[i], WIDTH - RIGHT);
    put_label(p, "e d", LEFT - 10, rails[i] + 4, "coordinator");
  }
}

/* A rectangle of equal parts for its sequences; prompts are hatched. */
static void put_computing(picture *p, const tri_steps_one *one, uint32_t stage) {
  const tri_steps_part *part = &p->t->steps->parts[one->parts + stage];
  double x = x_of(p, part->start_us), width = x_of(p, part->start_us + part->compute_us) - x, y = lane_top(p, stage);
  double height = p->lane / one->n_runs;
  for (uint32_t i = 0; i < one->n_runs; i++) {
    const tri_steps_run *run = &p->t->steps->runs[one->runs + i];
    char class[8];
    snprintf(class, sizeof class, "c%zu", job_index(p, run->job) % COLOURS);
    put_rect(p, class, x, y + i * height, width, height);
    if (run->prompt) put_rect(p, "h", x, y + i * height, width, height);
  }
  if (width > OUTLINED) put_rect(p, "o", x, y, width, p->lane);
}

static void put_tip(picture *p, const tri_steps_one *one) {
  uint64_t compute = 0, wait = 0;
  for (uint32_t i = 0; i < one->n_stages; i++) {
    const tri_steps_part *part = &p->t->steps->parts[one->parts + i];
    compute += part->compute_us, wait += part->wait_us;
  }
  tri_buf_printf(&p->svg, "<title>step %llu, %u row%s: %.2f ms, of them %.2f computing, %.2f waiting; jobs", (unsigned long long)one->id,
                 one->rows, one->rows == 1 ? "" : "s", (double)one->took_us / 1e3, (double)compute / 1e3, (double)wait / 1e3);
  for (uint32_t i = 0; i < one->n_runs; i++) {
    const tri_steps_run *run = &p->t->steps->runs[one->runs + i];
    tri_buf_printf(&p->svg, " %llu", (unsigned long long)run->job);
    if (run->prompt) tri_buf_printf(&p->svg, " (prompt, %u)", run->rows);
  }
  tri_buf_printf(&p->svg, "</title>");
}

/* The steps that wait before a stage stand above one another. */
static int take_level(int64_t until_us[LEVELS], const tri_steps_part *part) {
  int level = 0;
  while (level < LEVELS - 1 && until_us[level] > part->arrived_us) level++;
  until_us[level] = part->start_us;
  return level;
}

static void put_step(picture *p, const tri_steps_one *one, int64_t until_us[][LEVELS]) {
  const tri_steps_part *parts = &p->t->steps->parts[one->parts];
  double x = x_of(p, one->sent_us), y = TOP;
  tri_buf waits = {0};
  tri_buf_printf(&p->svg, "<g>");
  put_tip(p, one);
  tri_buf_printf(&p->svg, "<path class=\"w\" d=\"");
  for (uint32_t i = 0; i < one->n_stages; i++) {
    double queue = lane_top(p, i) - 2 - QUEUE * take_level(until_us[i], &parts[i]), arrived = x_of(p, parts[i].arrived_us);
    tri_buf_printf(&p->svg, "M%.1f %.1fL%.1f %.1f", x, y, arrived, queue);
    if (parts[i].wait_us) tri_buf_printf(&waits, "M%.1f %.1fH%.1f", arrived, queue, x_of(p, parts[i].start_us));
    x = x_of(p, parts[i].start_us + parts[i].compute_us), y = lane_top(p, i) + p->lane;
  }
  tri_buf_printf(&p->svg, "M%.1f %.1fL%.1f %.1f\"/>", x, y, x_of(p, back_us(one)), p->bottom);
  if (waits.len) tri_buf_printf(&p->svg, "<path class=\"q\" d=\"%s\"/>", (char *)waits.data);
  tri_buf_free(&waits);
  for (uint32_t i = 0; i < one->n_stages; i++) put_computing(p, one, i);
  tri_buf_printf(&p->svg, "</g>\n");
}

static void put_legend(picture *p) {
  double y = p->bottom + 46;
  char class[8], text[48];
  put_rect(p, "l", LEFT, y - 11, 22, 14);
  put_label(p, "", LEFT + 30, y, "a stage has nothing to do: a bubble");
  put_rect(p, "c0", LEFT + 290, y - 11, 22, 14), put_rect(p, "h", LEFT + 290, y - 11, 22, 14);
  put_label(p, "", LEFT + 320, y, "rows of a prompt; else a sequence's one token");
  tri_buf_printf(&p->svg, "<path class=\"q\" d=\"M%d %.1fh22\"/>", LEFT + 660, y - 4);
  put_label(p, "", LEFT + 690, y, "a step waits");
  tri_buf_printf(&p->svg, "<path class=\"w\" d=\"M%d %.1fl22 12\"/>", LEFT + 800, y - 10);
  put_label(p, "", LEFT + 830, y, "it is on its way: what no stage accounts for, spread evenly");
  y += 26;
  for (size_t i = 0; i < p->n_jobs && i < COLOURS; i++) {
    snprintf(class, sizeof class, "c%zu", i), snprintf(text, sizeof text, "job %llu", (unsigned long long)p->jobs[i]);
    put_rect(p, class, LEFT + 96.0 * (double)i, y - 11, 14, 14);
    put_label(p, "", LEFT + 96.0 * (double)i + 20, y, text);
  }
  snprintf(text, sizeof text, "%zu more, in the same colours", p->n_jobs - COLOURS);
  if (p->n_jobs > COLOURS) put_label(p, "d", LEFT + 96.0 * COLOURS, y, text);
}

static void draw(picture *p) {
  uint32_t n = p->t->measure->n_stages;
  int64_t until_us[TRI_MAX_STAGES][LEVELS] = {0};
  p->pitch = LANES / n < LANE_MOST * 3 / 2 ? LANES / n : LANE_MOST * 3 / 2;
  p->lane = p->pitch * 2 / 3;
  if (p->lane < LANE_LEAST) p->lane = LANE_LEAST, p->pitch = LANE_LEAST * 3 / 2.0;
  p->bottom = lane_top(p, n - 1) + p->lane + RAIL + 8;
  note_jobs(p);
  put_head(p, p->bottom + BOTTOM);
  put_titles(p);
  put_axis(p);
  put_lanes(p);
  tri_buf_printf(&p->svg, "<g clip-path=\"url(#k)\">\n");
  for (size_t i = 0; i < p->n; i++) put_step(p, step_at(p, i), until_us);
  tri_buf_printf(&p->svg, "</g>\n");
  put_legend(p);
  tri_buf_printf(&p->svg, "</svg>\n");
}

static tri_status write_out(const tri_buf *svg, const char *path, tri_error *err) {
  tri_file_writer *w = NULL;
  tri_status status = tri_buf_ok(svg) ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory for the timeline");
  if (status == TRI_OK) status = tri_file_writer_open(&w, path, 0644, err);
  if (status == TRI_OK) status = tri_file_writer_write(w, svg->data, svg->len, err);
  if (status == TRI_OK) return tri_file_writer_commit(&w, err);
  tri_file_writer_abort(&w);
  return status;
}

tri_status tri_timeline_write(const tri_timeline *t, const char *path, tri_error *err) {
  picture p = {.t = t};
  if (!choose(&p)) return tri_status_fail(err, TRI_E_INVALID, "too few steps for a timeline: a longer load, --seconds or --requests");
  draw(&p);
  tri_status status = write_out(&p.svg, path, err);
  tri_buf_free(&p.svg);
  return status;
}
