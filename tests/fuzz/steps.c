/* SPDX-License-Identifier: MIT */
/* A trace document from a coordinator: each stage's part of what is taken lies within the step's round trip, and shares are shares. */
#include <stdlib.h>
#include "cli/steps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int ok) {
  if (!ok) abort();
}

static void check_places(const tri_steps *s, const tri_steps_one *one) {
  int64_t at = one->sent_us;
  for (uint32_t i = 0; i < one->n_stages; i++) {
    const tri_steps_part *p = &s->parts[one->parts + i];
    check(p->arrived_us >= at && p->start_us >= p->arrived_us);
    at = p->start_us + p->compute_us;
  }
  check(at <= one->sent_us + one->took_us);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static tri_steps_measure m;
  tri_steps s = {0};
  int64_t from = 0, to = 0;
  bool found = false;
  if (tri_steps_add(&s, data, size, NULL) == TRI_OK) {
    tri_steps_place(&s);
    for (size_t i = 0; i < s.n; i++) check_places(&s, &s.one[i]);
    if (tri_steps_window(&s, 0, &from, &to, &found, NULL) == TRI_OK && found) {
      tri_steps_measure_within(&s, from, to, &m);
      for (uint32_t i = 0; i < m.n_stages; i++) check(m.stage[i].busy >= 0 && m.stage[i].busy <= 1);
      check(m.bubble_slowest >= 0 && m.bubble_mean <= 1);
    }
  }
  tri_steps_free(&s);
  return 0;
}
