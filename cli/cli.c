/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"

int tri_cli_fail(const tri_error *err) {
  fprintf(stderr, "trireme: %s\n", err->text);
  return tri_status_exit_code(err->status);
}

bool tri_cli_parse(const tri_args_spec *spec, int argc, char **argv, int min_positionals, int max_positionals, int *positionals,
                   int *exit_code) {
  tri_error err;
  int n = 0;
  bool helped;
  if (tri_args_parse(spec, argc, argv, &n, &helped, &err) != TRI_OK) return *exit_code = tri_cli_fail(&err), false;
  if (helped) return *exit_code = 0, false;
  if (n < min_positionals || n > max_positionals) {
    tri_status_fail(&err, TRI_E_INVALID,
                    n > max_positionals ? "unexpected argument '%s'; usage: %s %s" : "%.0sargument missing; usage: %s %s",
                    n > max_positionals ? argv[1 + max_positionals] : "", spec->command, spec->usage);
    return *exit_code = tri_cli_fail(&err), false;
  }
  if (positionals) *positionals = n;
  return true;
}

tri_status tri_cli_matrix_type(const char *option, const char *name, uint32_t *out, tri_error *err) {
  static const struct { const char *name; uint32_t type; } types[] = {
      {"f32", TRI_TYPE_F32}, {"f16", TRI_TYPE_F16}, {"bf16", TRI_TYPE_BF16}, {"q8_0", TRI_TYPE_Q8_0}, {"q6_k", TRI_TYPE_Q6_K}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (strcmp(types[i].name, name) == 0) return *out = types[i].type, TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "--%s %s: known are f32, f16, bf16, q8_0 and q6_k", option, name);
}

tri_status tri_cli_int_list(const char *option, const char *text, int64_t most, int64_t *out, int *n, int cap, tri_error *err) {
  *n = 0;
  for (const char *p = text; *p;) {
    char *end;
    errno = 0;
    long long v = strtoll(p, &end, 10);
    if (end == p || errno || v < 1 || v > most || (*end && *end != ','))
      return tri_status_fail(err, TRI_E_INVALID, "--%s %s: numbers from 1 to %lld with commas between them are expected", option, text,
                             (long long)most);
    if (*n == cap) return tri_status_fail(err, TRI_E_LIMIT, "--%s %s: more than %d numbers", option, text, cap);
    out[(*n)++] = v;
    p = *end ? end + 1 : end;
  }
  if (*n == 0) return tri_status_fail(err, TRI_E_INVALID, "--%s: a number is needed", option);
  return TRI_OK;
}

static double per_second(uint64_t n, uint64_t us) { return us ? (double)n * 1e6 / (double)us : 0; }
double tri_cli_prefill_rate(uint64_t prompt_tokens, uint64_t prefill_us) { return per_second(prompt_tokens, prefill_us); }
double tri_cli_decode_rate(uint64_t tokens, uint64_t decode_us) { return tokens > 1 ? per_second(tokens - 1, decode_us) : 0; }

void tri_cli_print_speed(FILE *out, uint64_t prompt_tokens, uint64_t prefill_us, uint64_t tokens, uint64_t decode_us) {
  fprintf(out, "prefill %llu tokens, %.1f tokens/s; generated %llu token%s", (unsigned long long)prompt_tokens,
          tri_cli_prefill_rate(prompt_tokens, prefill_us), (unsigned long long)tokens, tokens == 1 ? "" : "s");
  if (tokens > 1) fprintf(out, ", %.1f tokens/s after the first", tri_cli_decode_rate(tokens, decode_us));
  fputc('\n', out);
}

tri_progress tri_progress_begin(const char *label) {
  int64_t now = tri_clock_ms();
  return (tri_progress){.label = label, .start_ms = now, .shown_ms = now};
}

void tri_progress_update(void *arg, uint64_t done, uint64_t total) {
  enum { WAIT_MS = 700, INTERVAL_MS = 100, WIDTH = 30 };
  tri_progress *p = arg;
  int64_t now = tri_clock_ms();
  if (!total || now - p->start_ms < WAIT_MS || now - p->shown_ms < INTERVAL_MS || !isatty(STDERR_FILENO)) return;
  double share = (double)done / (double)total, seconds = (double)(now - p->start_ms) / 1000, rate = (double)done / seconds;
  char bar[WIDTH + 1];
  for (int i = 0; i < WIDTH; i++) bar[i] = i < (int)(share * WIDTH) ? '#' : '.';
  bar[WIDTH] = 0;
  double left = rate > 0 ? (double)(total - done) / rate : 0;
  fprintf(stderr, "\r\033[K%s [%s] %3.0f %%  ", p->label, bar, share * 100);
  if (p->unit) fprintf(stderr, "%llu of %llu %s  %.2g/s", (unsigned long long)done, (unsigned long long)total, p->unit, rate);
  else fprintf(stderr, "%s of %s  %s/s", TRI_UNITS(done), TRI_UNITS(total), TRI_UNITS(rate));
  if (left < 600) fprintf(stderr, "  %.0f s left", left);
  else fprintf(stderr, "  %.0f min left", left / 60);
  fflush(stderr);
  p->shown_ms = now, p->drawn = true;
}

void tri_progress_end(tri_progress *p) {
  if (p->drawn) fprintf(stderr, "\r\033[K");
  p->drawn = false;
}
