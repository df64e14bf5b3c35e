/* SPDX-License-Identifier: MIT */
#include "cli/sampling.h"

#include <sys/random.h>
#include "base/clock.h"
#include "base/file.h"

enum { MAX_PROMPT_BYTES = 16 << 20 };

tri_status tri_sampling_resolve(tri_sampling_args *a, tri_sampler_params *out, tri_error *err) {
  if (a->seed < 0) {
    uint32_t random;
    if (getrandom(&random, sizeof random, 0) != sizeof random) random = (uint32_t)tri_clock_ns();
    a->seed = random;
  }
  tri_sampler_params p = {.temperature = (float)a->temperature, .top_k = (int32_t)a->top_k, .top_p = (float)a->top_p,
                          .min_p = (float)a->min_p, .repeat_penalty = (float)a->repeat_penalty,
                          .repeat_last = (int32_t)a->repeat_last, .seed = (uint64_t)a->seed};
  tri_status status = tri_sampler_check(&p, err);
  if (status == TRI_OK) *out = p;
  return status;
}

tri_status tri_sampling_prompt(const char *option, tri_buf *out, tri_error *err) {
  if (!option) return tri_status_fail(err, TRI_E_INVALID, "a prompt is needed: -p TEXT, or -p - to read it from standard input");
  if (strcmp(option, "-") == 0) return tri_file_read(out, "-", MAX_PROMPT_BYTES, err);
  tri_buf_append(out, option, strlen(option));
  if (!tri_buf_ok(out)) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  return TRI_OK;
}
