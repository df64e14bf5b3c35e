/* SPDX-License-Identifier: MIT */
#include "cli/bench.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/file.h"
#include "engine/tokenizer.h"

/* How fast a text becomes tokens, and texts that would take for ever if some step's cost grew faster than its length. */

enum { MADE_BYTES = 1 << 20, TEXT_BYTES = 64 << 20, ENOUGH_MS = 300 };

static uint32_t next_random(uint32_t *state) { return *state = *state * 1664525u + 1013904223u, *state >> 16; }

/* Fill with copies of `unit`, or with letters, each as likely as another, where that is NULL. */
static void make_text(tri_buf *text, const char *unit) {
  uint32_t state = 1;
  tri_buf_clear(text);
  while (text->len < MADE_BYTES && tri_buf_ok(text))
    if (unit) tri_buf_append(text, unit, strlen(unit));
    else tri_buf_byte(text, (uint8_t)('a' + next_random(&state) % 26));
}

/* The whole text again and again until that took ENOUGH_MS; the fastest time counts. */
static tri_status measure(const tri_tokenizer *t, const char *name, const tri_buf *text, json_t *rows, tri_error *err) {
  tri_ids ids = {0};
  int64_t best_us = INT64_MAX, end_ms = tri_clock_ms() + ENOUGH_MS;
  tri_status status = tri_buf_ok(text) ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory for a text");
  do {
    int64_t start = tri_clock_us();
    ids.len = 0;
    if (status == TRI_OK) status = tri_tokenizer_encode(t, (char *)text->data, text->len, false, &ids, err);
    int64_t us = tri_clock_us() - start;
    if (us < best_us) best_us = us;
  } while (status == TRI_OK && tri_clock_ms() < end_ms);
  double rate = (double)text->len / (double)(best_us ? best_us : 1);
  json_t *row =
      json_pack("{s:s, s:I, s:I, s:f}", "text", name, "bytes", (json_int_t)text->len, "tokens", (json_int_t)ids.len, "mb_s", rate);
  if (status == TRI_OK && rows) json_array_append(rows, row);
  else if (status == TRI_OK) printf("%-34.34s %10zu %10zu %9.2f\n", name, text->len, ids.len, rate), fflush(stdout);
  json_decref(row);
  tri_ids_free(&ids);
  return status;
}

static tri_status measure_made(const tri_tokenizer *t, json_t *rows, tri_error *err) {
  static const struct {
    const char *name, *unit;
  } texts[] = {{"one letter", "a"},
               {"two letters", "ab"},
               {"spaces", " "},
               {"ends of lines", "\n"},
               {"one digit", "7"},
               {"one sign", "="},
               {"one Chinese character", "\xe4\xb8\xad"},
               {"half a character", "\xe4\xb8"},
               {"one mark, combining", "\xcc\x81"},
               {"the start of a token", "<|"},
               {"letters by chance", NULL}};
  tri_buf text = {0};
  tri_status status = TRI_OK;
  for (size_t i = 0; i < sizeof texts / sizeof *texts && status == TRI_OK; i++) {
    make_text(&text, texts[i].unit);
    status = measure(t, texts[i].name, &text, rows, err);
  }
  tri_buf_free(&text);
  return status;
}

tri_status tri_bench_tokenizer(const char *model_path, const char *text_path, bool as_json, tri_error *err) {
  tri_tokenizer *t = NULL;
  tri_buf text = {0};
  json_t *rows = as_json ? json_array() : NULL;
  tri_status status = tri_file_read(&text, text_path, TEXT_BYTES, err);
  if (status == TRI_OK) status = tri_tokenizer_load(&t, model_path, err);
  if (status == TRI_OK && !as_json) printf("%-34s %10s %10s %9s\n", "one thread", "bytes", "tokens", "MB/s");
  if (status == TRI_OK) status = measure(t, text_path, &text, rows, err);
  if (status == TRI_OK) status = measure_made(t, rows, err);
  if (status == TRI_OK && as_json) {
    json_t *doc = json_pack("{s:I, s:O}", "vocab", (json_int_t)tri_tokenizer_size(t), "rows", rows);
    json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(doc);
  }
  json_decref(rows);
  tri_tokenizer_close(&t);
  tri_buf_free(&text);
  return status;
}
