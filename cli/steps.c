/* SPDX-License-Identifier: MIT */
#include "cli/steps.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "cli/list.h"
#include "proto/codec.h"

/* --- from the document --- */

/* A whole number from 0 to `most`, which `ok` is about. */
static uint64_t number(const json_t *v, uint64_t most, bool *ok) {
  json_int_t n = json_integer_value(v);
  if (!json_is_integer(v) || n < 0 || (uint64_t)n > most) *ok = false;
  return *ok ? (uint64_t)n : 0;
}

static bool add_parts(tri_steps *s, const json_t *list, tri_steps_one *one, bool *ok) {
  size_t i;
  json_t *v;
  uint64_t all_us = 0;
  one->n_stages = (uint32_t)json_array_size(list), one->parts = s->n_parts;
  if (!one->n_stages || json_array_size(list) > TRI_MAX_STAGES) return *ok = false, true;
  json_array_foreach(list, i, v) {
    if (!TRI_LIST_GROW(s, parts, n_parts, cap_parts)) return false;
    tri_steps_part *p = &s->parts[s->n_parts++];
    *p = (tri_steps_part){.wait_us = (uint32_t)number(json_array_get(v, 0), UINT32_MAX, ok),
                          .compute_us = (uint32_t)number(json_array_get(v, 1), UINT32_MAX, ok)};
    all_us += (uint64_t)p->wait_us + p->compute_us;
  }
  if (all_us > (uint64_t)one->took_us) *ok = false;
  return true;
}

static bool add_runs(tri_steps *s, const json_t *list, tri_steps_one *one, bool *ok) {
  size_t i;
  json_t *v;
  one->n_runs = (uint32_t)json_array_size(list), one->runs = s->n_runs;
  if (!one->n_runs || json_array_size(list) > TRI_MAX_RUNS) return *ok = false, true;
  json_array_foreach(list, i, v) {
    if (!TRI_LIST_GROW(s, runs, n_runs, cap_runs)) return false;
    tri_steps_run *r = &s->runs[s->n_runs++];
    *r = (tri_steps_run){.job = number(json_array_get(v, 0), INT64_MAX, ok),
                         .rows = (uint32_t)number(json_array_get(v, 1), TRI_MAX_ROWS, ok),
                         .prompt = number(json_array_get(v, 2), 1, ok) != 0};
    one->rows += r->rows;
  }
  return true;
}

static tri_status add_one(tri_steps *s, const json_t *v, tri_error *err) {
  bool ok = true;
  tri_steps_one one = {.id = number(json_object_get(v, "step"), INT64_MAX, &ok),
                       .epoch = (uint32_t)number(json_object_get(v, "epoch"), UINT32_MAX, &ok),
                       .sent_us = (int64_t)number(json_object_get(v, "sent_us"), INT64_MAX / 4, &ok),
                       .took_us = (int64_t)number(json_object_get(v, "took_us"), INT64_MAX / 4, &ok)};
  bool room = TRI_LIST_GROW(s, one, n, cap) && add_parts(s, json_object_get(v, "stages"), &one, &ok) &&
              add_runs(s, json_object_get(v, "runs"), &one, &ok);
  if (!room) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for the trace");
  if (!ok || one.id <= s->last)
    return tri_status_fail(err, TRI_E_PROTOCOL, "the coordinator's trace makes no sense at step %llu", (unsigned long long)one.id);
  s->last = one.id;
  s->one[s->n++] = one;
  return TRI_OK;
}

tri_status tri_steps_add(tri_steps *s, const void *json, size_t len, tri_error *err) {
  json_error_t why;
  size_t i;
  json_t *doc = json_loadb(json, len, 0, &why), *list = json_object_get(doc, "steps"), *v;
  tri_status status = TRI_OK;
  if (!json_is_array(list)) status = tri_status_fail(err, TRI_E_PROTOCOL, "the coordinator's trace has no steps: %s", doc ? "" : why.text);
  else {
    json_array_foreach(list, i, v) {
      if (s->n == TRI_STEPS_MOST) {
        bool ok = true;
        uint64_t id = number(json_object_get(v, "step"), INT64_MAX, &ok);
        s->left_out++, s->last = id > s->last ? id : s->last;
      } else if ((status = add_one(s, v, err)) != TRI_OK) {
        break;
      }
    }
    s->more = json_array_size(list) > 0 && json_is_true(json_object_get(doc, "more"));
  }
  json_decref(doc);
  return status;
}

void tri_steps_free(tri_steps *s) {
  free(s->one), free(s->parts), free(s->runs);
  *s = (tri_steps){0};
}

/* --- places in time --- */

static void place_one(const tri_steps_one *one, tri_steps_part *parts, int64_t free_us[]) {
  int64_t way_us = one->took_us, at_us = one->sent_us; /* of the ways what is left */
  for (uint32_t i = 0; i < one->n_stages; i++) way_us -= (int64_t)parts[i].wait_us + parts[i].compute_us;
  for (uint32_t i = 0; i < one->n_stages; i++) {
    tri_steps_part *p = &parts[i];
    int64_t way = way_us / (one->n_stages + 1 - i), late = free_us[i] - (at_us + way + p->wait_us);
    if (late > 0) way += late < way_us - way ? late : way_us - way;
    p->arrived_us = at_us + way, p->start_us = p->arrived_us + p->wait_us;
    way_us -= way, at_us = p->start_us + p->compute_us;
    if (at_us > free_us[i]) free_us[i] = at_us;
  }
}

void tri_steps_place(tri_steps *s) {
  int64_t free_us[TRI_MAX_STAGES] = {0};
  for (size_t i = 0; i < s->n; i++) {
    if (i && s->one[i].epoch != s->one[i - 1].epoch) memset(free_us, 0, sizeof free_us);
    place_one(&s->one[i], s->parts + s->one[i].parts, free_us);
  }
}

/* --- windows --- */

bool tri_span_window(const tri_span *spans, size_t n, size_t streams, int64_t *from_us, int64_t *to_us) {
  if (!n || n < streams) return false;
  int64_t from = streams ? 0 : spans[0].begin_us, to = streams ? INT64_MAX : 0;
  for (size_t i = 0; i < streams; i++)
    if (spans[i].first_us > from) from = spans[i].first_us;
  for (size_t i = 0; i < n; i++) {
    int64_t end = spans[i].end_us;
    if (!streams && end > to) to = end;
    if (streams && end > spans[n - 1].begin_us && end < to) to = end;
  }
  if (from >= to || to == INT64_MAX) return false;
  *from_us = from, *to_us = to;
  return true;
}

typedef struct job_span {
  uint64_t job;
  bool generates;
} job_span;

tri_status tri_steps_window(const tri_steps *s, size_t streams, int64_t *from_us, int64_t *to_us, bool *found, tri_error *err) {
  struct { tri_span *spans; job_span *jobs; size_t n, cap, cap_jobs; } l = {0};
  bool room = true;
  for (size_t i = 0; i < s->n && room; i++) {
    const tri_steps_one *one = &s->one[i];
    for (uint32_t j = 0; j < one->n_runs && room; j++) {
      const tri_steps_run *run = &s->runs[one->runs + j];
      size_t k = l.n;
      while (k > 0 && l.jobs[k - 1].job != run->job) k--; /* most are among the last ones */
      if (k == 0) {
        if (!(room = TRI_LIST_GROW(&l, spans, n, cap) && TRI_LIST_GROW(&l, jobs, n, cap_jobs))) break;
        l.jobs[l.n] = (job_span){.job = run->job};
        l.spans[l.n] = (tri_span){.begin_us = one->sent_us};
        k = ++l.n;
      }
      tri_span *span = &l.spans[k - 1];
      span->end_us = one->sent_us + one->took_us;
      if (!l.jobs[k - 1].generates) span->first_us = run->prompt ? span->end_us : one->sent_us; /* the token was here by then */
      if (!run->prompt) l.jobs[k - 1].generates = true;
    }
  }
  *found = room && tri_span_window(l.spans, l.n, streams, from_us, to_us);
  free(l.spans), free(l.jobs);
  return room ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory for the trace");
}

/* --- measures --- */

static double overlap_us(int64_t a, int64_t b, int64_t from, int64_t to) {
  int64_t low = a > from ? a : from, high = b < to ? b : to;
  return high > low ? (double)(high - low) : 0;
}

static void add_step(const tri_steps *s, const tri_steps_one *one, tri_steps_measure *out) {
  int64_t way_us = one->took_us;
  out->steps++;
  out->rows += one->rows, out->took_us += (double)one->took_us;
  for (uint32_t j = 0; j < one->n_runs; j++)
    if (s->runs[one->runs + j].prompt) out->prompt_rows += s->runs[one->runs + j].rows;
  for (uint32_t j = 0; j < one->n_stages; j++) {
    const tri_steps_part *p = &s->parts[one->parts + j];
    out->stage[j].wait_us += p->wait_us, out->stage[j].compute_us += p->compute_us;
    out->wait_us += p->wait_us, out->compute_us += p->compute_us;
    way_us -= (int64_t)p->wait_us + p->compute_us;
  }
  out->hop_us += (double)way_us / (one->n_stages + 1);
}

/* Sums become means. */
static void divide(tri_steps_measure *out) {
  double n = out->steps ? (double)out->steps : 1, us = out->seconds * 1e6, most = 0, all = 0;
  out->rows /= n, out->prompt_rows /= n, out->took_us /= n, out->compute_us /= n, out->wait_us /= n, out->hop_us /= n, out->on_way /= us;
  for (uint32_t j = 0; j < out->n_stages; j++) {
    tri_steps_stage *stage = &out->stage[j];
    stage->wait_us /= n, stage->compute_us /= n;
    stage->busy = stage->busy < us ? stage->busy / us : 1;
    all += stage->busy;
    if (stage->busy > most) most = stage->busy;
  }
  if (out->n_stages) out->bubble_slowest = 1 - most, out->bubble_mean = 1 - all / out->n_stages;
}

void tri_steps_measure_within(const tri_steps *s, int64_t from_us, int64_t to_us, tri_steps_measure *out) {
  *out = (tri_steps_measure){.seconds = (double)(to_us - from_us) / 1e6};
  for (size_t i = 0; i < s->n; i++) {
    const tri_steps_one *one = &s->one[i];
    int64_t back_us = one->sent_us + one->took_us;
    if (one->epoch != s->one[s->n - 1].epoch) continue;
    out->n_stages = one->n_stages;
    out->on_way += overlap_us(one->sent_us, back_us, from_us, to_us);
    for (uint32_t j = 0; j < one->n_stages; j++) {
      const tri_steps_part *p = &s->parts[one->parts + j];
      out->stage[j].busy += overlap_us(p->start_us, p->start_us + p->compute_us, from_us, to_us);
    }
    if (back_us >= from_us && back_us <= to_us) add_step(s, one, out);
  }
  divide(out);
}
