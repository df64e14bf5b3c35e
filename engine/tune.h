/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_TUNE_H
#define TRI_ENGINE_TUNE_H
#include "engine/mem.h"
#include "engine/model.h"
#include "engine/pool.h"
#include "kernels/form.h"

/* Which run-time form of a ternary matrix (kernels/form.h) is the fastest on this node, found by timing: one row, as in
 * decoding, over more bytes than the last-level cache holds, and a full panel of rows, as in prefill. Every form gives the
 * same results, so the choice never shows in the output.
 *
 * A matrix is held in one form only, so both uses count: the form with the least time for one generated token and
 * TRI_TUNE_PROMPT prompt tokens wins. Results are kept in a file for the same CPU, kernels and thread count. */

enum {
  TRI_TUNE_SHAPES = 8,   /* most different [m, k] in a model */
  TRI_TUNE_PROMPT = 4,   /* prompt tokens for each generated one, in the balance between the two timings */
  TRI_TUNE_BUDGET_MS = 2000,
};

typedef struct tri_tune_entry {
  size_t m, k;
  tri_form form;                       /* the choice */
  double one_us[TRI_FORM_COUNT];       /* one row through the matrix; 0: the kernels have no such form */
  double panel_us[TRI_FORM_COUNT];     /* a panel of the kernels' panel_rows */
} tri_tune_entry;

typedef struct tri_tune {
  int n;
  tri_tune_entry entries[TRI_TUNE_SHAPES];
  bool cached, forced; /* from the file; by TRIREME_FORM */
  double seconds;      /* that the timing took */
} tri_tune;

/* Choose for every ternary shape of a model. The environment's TRIREME_FORM (i2s, tl1, tl2, t5) forces one form and skips the
 * timing: TRI_E_INVALID for an unknown name, TRI_E_UNSUPPORTED when the kernels lack it. A cache file that can't be read or
 * written is no error: the timing is done again. Never longer than about TRI_TUNE_BUDGET_MS. */
TRI_MUST_CHECK tri_status tri_tune_choose(tri_tune *out, const tri_shape *shape, const tri_kernels *k, tri_pool *pool, tri_error *err);
/* The choice for [m, k]; TRI_FORM_I2S for a shape that was not timed or when t is NULL. */
tri_form tri_tune_form(const tri_tune *t, size_t m, size_t k);

/* --- one timing, also for `bench --kernels` --- */

/* A buffer that holds copies of a matrix, larger than the last-level cache. */
typedef struct tri_tune_matrix {
  tri_mem mem;
  tri_form form;
  size_t m, k, bytes, copies; /* of one copy; that the buffer holds */
} tri_tune_matrix;

/* Fill a buffer with random weights in this form; at least one copy, about `room` bytes. */
TRI_MUST_CHECK tri_status tri_tune_fill(tri_tune_matrix *out, tri_form form, size_t m, size_t k, size_t room, tri_error *err);
void tri_tune_free(tri_tune_matrix *x);
/* Microseconds for `rows` <= TRI_PANEL_ROWS rows through one copy, all threads together: the least of up to `passes` passes over
 * the copies (the least, since other processes only ever add time), ended early after `limit_ms`. */
TRI_MUST_CHECK tri_status tri_tune_time(const tri_tune_matrix *x, size_t rows, const tri_kernels *k, tri_pool *pool, int passes,
                                        int64_t limit_ms, double *us, tri_error *err);
/* Twice the last-level cache, within sensible bounds. */
size_t tri_tune_room(void);

#endif
