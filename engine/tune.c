/* SPDX-License-Identifier: MIT */
#include "engine/tune.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "engine/tune_cache.h"

/* --- timing --- */

size_t tri_tune_room(void) {
  enum { LEAST = 32 << 20, MOST = 256 << 20 };
  long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
  size_t room = cache > 0 ? 2 * (size_t)cache : 0;
  return room < LEAST ? LEAST : room > MOST ? MOST : room;
}

/* Trits for one row block, by xorshift: what they are doesn't matter, but all-zero rows could be a special case one day. */
static void random_trits(int8_t *trits, size_t n) {
  uint64_t x = 88172645463325252u;
  for (size_t i = 0; i < n; i++) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    trits[i] = (int8_t)((int)(x % 3) - 1);
  }
}

tri_status tri_tune_fill(tri_tune_matrix *out, tri_form form, size_t m, size_t k, size_t room, tri_error *err) {
  size_t bytes = tri_form_bytes(form, m, k), block = tri_form_bytes(form, TRI_BLOCK_ROWS, k), copies = (room + bytes - 1) / bytes;
  int8_t *trits = malloc(TRI_BLOCK_ROWS * k);
  tri_mem mem = tri_mem_get(bytes * copies);
  if (!trits || !mem.data) {
    free(trits), tri_mem_free(&mem);
    return tri_status_fail(err, TRI_E_NOMEM, "no memory to time the kernels (%s)", TRI_UNITS(bytes * copies));
  }
  random_trits(trits, TRI_BLOCK_ROWS * k);
  tri_form_pack(form, trits, TRI_BLOCK_ROWS, k, mem.data);
  free(trits);
  for (size_t at = block; at < mem.bytes; at += block) memcpy((char *)mem.data + at, mem.data, block);
  *out = (tri_tune_matrix){mem, form, m, k, bytes, copies};
  return TRI_OK;
}

void tri_tune_free(tri_tune_matrix *x) { tri_mem_free(&x->mem); }

typedef struct time_job {
  const tri_tune_matrix *x;
  tri_gemm *gemm;
  const int8_t *panel;
  size_t rows, ld;
  int32_t *y;
} time_job;

static void time_fn(void *arg, int thread, int threads) {
  const time_job *job = arg;
  size_t first, last;
  tri_pool_split(tri_round_up(job->x->m, TRI_BLOCK_ROWS) / TRI_BLOCK_ROWS, thread, threads, &first, &last);
  for (size_t i = 0; i < job->x->copies && first < last; i++)
    job->gemm((const uint8_t *)job->x->mem.data + i * job->x->bytes, job->x->k, job->panel, job->rows, first, last, job->y, job->ld);
}

tri_status tri_tune_time(const tri_tune_matrix *x, size_t rows, const tri_kernels *k, tri_pool *pool, int passes, int64_t limit_ms,
                         double *us, tri_error *err) {
  size_t kpad = tri_round_up(x->k, TRI_K_ALIGN), ld = tri_round_up(x->m, TRI_BLOCK_ROWS);
  tri_mem panel = tri_mem_get(rows * kpad), y = tri_mem_get(rows * ld * sizeof(int32_t));
  tri_status status = TRI_OK;
  if (!panel.data || !y.data) status = tri_status_fail(err, TRI_E_NOMEM, "no memory to time the kernels");
  else {
    for (size_t i = 0; i < rows * kpad; i++) ((int8_t *)panel.data)[i] = (int8_t)(i * 37 % 255 - 127);
    time_job job = {x, k->gemm[x->form], panel.data, rows, ld, y.data};
    int64_t least = INT64_MAX, end = tri_clock_ms() + limit_ms;
    for (int pass = -1; pass < passes; pass++) { /* the first warms up, and counts only if it must be the last */
      int64_t start = tri_clock_ns();
      tri_pool_run(pool, time_fn, &job);
      int64_t took = tri_clock_ns() - start;
      bool late = tri_clock_ms() > end;
      if ((pass >= 0 || late) && took < least) least = took;
      if (late) break;
    }
    *us = (double)least / 1000 / (double)x->copies;
  }
  tri_mem_free(&panel), tri_mem_free(&y);
  return status;
}

/* --- choosing --- */

static void add_shape(tri_tune *t, size_t m, size_t k) {
  for (int i = 0; i < t->n; i++)
    if (t->entries[i].m == m && t->entries[i].k == k) return;
  if (t->n < TRI_TUNE_SHAPES) t->entries[t->n++] = (tri_tune_entry){.m = m, .k = k};
}

static void add_shapes(tri_tune *t, const tri_shape *shape) {
  for (int i = 0; i < TRI_LINEARS; i++) {
    size_t m, k;
    tri_shape_linear(shape, (tri_linear)i, &m, &k);
    add_shape(t, m, k);
  }
}

static double cost(const tri_tune_entry *e, int form, size_t panel_rows) {
  return e->one_us[form] + TRI_TUNE_PROMPT * e->panel_us[form] / (double)panel_rows;
}

static void choose_form(tri_tune_entry *e, size_t panel_rows) {
  e->form = TRI_FORM_I2S;
  for (int f = 0; f < TRI_FORM_COUNT; f++)
    if (e->one_us[f] > 0 && cost(e, f, panel_rows) < cost(e, e->form, panel_rows)) e->form = (tri_form)f;
}

static tri_status time_form(tri_tune_entry *e, tri_form form, const tri_kernels *k, tri_pool *pool, int64_t limit_ms, tri_error *err) {
  enum { PASSES = 5, PANEL_SHARE = 4 /* a panel is bound by arithmetic, and takes long: fewer bytes do */ };
  tri_tune_matrix x;
  tri_status status = tri_tune_fill(&x, form, e->m, e->k, tri_tune_room(), err);
  if (status != TRI_OK) return status;
  status = tri_tune_time(&x, 1, k, pool, PASSES, limit_ms / 2, &e->one_us[form], err);
  x.copies = (x.copies + PANEL_SHARE - 1) / PANEL_SHARE;
  if (status == TRI_OK) status = tri_tune_time(&x, k->panel_rows, k, pool, PASSES, limit_ms / 2, &e->panel_us[form], err);
  tri_tune_free(&x);
  return status;
}

static tri_status measure(tri_tune *t, const tri_kernels *k, tri_pool *pool, tri_error *err) {
  int forms = 0;
  for (int f = 0; f < TRI_FORM_COUNT; f++) forms += k->gemm[f] != NULL;
  int64_t start = tri_clock_ms(), limit_ms = TRI_TUNE_BUDGET_MS / (2 * forms * t->n); /* half of the time goes into filling */
  for (int i = 0; i < t->n; i++) {
    for (int f = 0; f < TRI_FORM_COUNT; f++) {
      tri_status status = k->gemm[f] ? time_form(&t->entries[i], (tri_form)f, k, pool, limit_ms, err) : TRI_OK;
      if (status != TRI_OK) return status;
    }
    choose_form(&t->entries[i], k->panel_rows);
  }
  t->seconds = (double)(tri_clock_ms() - start) / 1000;
  return TRI_OK;
}

static tri_status force(tri_tune *t, const char *name, const tri_kernels *k, tri_error *err) {
  int form = 0;
  while (form < TRI_FORM_COUNT && strcmp(name, tri_form_name((tri_form)form)) != 0) form++;
  if (form == TRI_FORM_COUNT) return tri_status_fail(err, TRI_E_INVALID, "TRIREME_FORM=%s: the forms are i2s, tl1, tl2, t5 and t9", name);
  if (!k->gemm[form]) return tri_status_fail(err, TRI_E_UNSUPPORTED, "TRIREME_FORM=%s: the %s kernels have no such form", name, k->name);
  t->forced = true;
  for (int i = 0; i < t->n; i++) t->entries[i].form = (tri_form)form;
  return TRI_OK;
}

/* Tiny matrices are not worth a timing: they live in cache whatever their form. */
static bool is_small(const tri_tune *t) {
  enum { SMALL_BYTES = 2 << 20 };
  for (int i = 0; i < t->n; i++)
    if (tri_form_bytes(TRI_FORM_I2S, t->entries[i].m, t->entries[i].k) > SMALL_BYTES) return false;
  return true;
}

tri_status tri_tune_choose(tri_tune *out, const tri_shape *shape, const tri_kernels *k, tri_pool *pool, tri_error *err) {
  tri_tune t = {0};
  tri_status status = TRI_OK;
  add_shapes(&t, shape);
  const char *forced = getenv("TRIREME_FORM");
  if (forced && *forced) status = force(&t, forced, k, err);
  else if (!is_small(&t)) {
    tri_tune_cache *cache = tri_tune_cache_lock(k, tri_pool_threads(pool));
    t.cached = tri_tune_cache_read(cache, &t);
    if (!t.cached) status = measure(&t, k, pool, err);
    if (!t.cached && status == TRI_OK) tri_tune_cache_write(cache, &t);
    tri_tune_cache_unlock(&cache);
  }
  if (status == TRI_OK) *out = t;
  return status;
}

tri_form tri_tune_form(const tri_tune *t, size_t m, size_t k) {
  for (int i = 0; t && i < t->n; i++)
    if (t->entries[i].m == m && t->entries[i].k == k) return t->entries[i].form;
  return TRI_FORM_I2S;
}
