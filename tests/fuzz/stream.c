/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "engine/stream.h"
#include "engine/utf8.h"
#include "tests/engine/small_vocab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The text for these ids. With `whole`, one id at a time as it is; else each id's bytes one by one. What has
 * come out is whole characters after every push, and only ever grows. */
static tri_buf run(const tri_tokenizer *t, const char *const *stops, size_t n_stops, const uint8_t *ids,
                   size_t n, bool whole) {
  tri_stream *s;
  tri_buf out = {0};
  bool stopped = false;
  if (tri_stream_open(&s, t, stops, n_stops, NULL) != TRI_OK) abort();
  for (size_t i = 0; i < n; i++) {
    int32_t id = ids[i] < 32 ? 256 + ids[i] : ids[i]; /* control characters stand for the longer tokens */
    tri_str piece = tri_tokenizer_piece(t, id, false);
    for (size_t k = 0; k < (whole ? 1 : piece.len); k++)
      if (tri_stream_push(s, whole ? id : (uint8_t)piece.data[k], &out, &stopped) != TRI_OK) abort();
    for (size_t at = 0; at < out.len;) {
      int step = tri_utf8_next(out.data + at, out.len - at);
      if (step <= 0) abort();
      at += (size_t)step;
    }
  }
  size_t before = out.len;
  if (tri_stream_finish(s, &out) != TRI_OK || (stopped && out.len != before)) abort();
  tri_stream_close(&s);
  return out;
}

/* Stop strings, one a line, up to an empty line; then ids. How the text is cut into tokens must not show, and
 * no stop string may be in it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static tri_tokenizer *t;
  if (!t) t = small_tokenizer();
  char text[1024];
  const char *stops[TRI_STREAM_STOPS];
  size_t n_stops = 0, used = 0, at = 0;
  while (at < size && data[at] != '\n' && n_stops < TRI_STREAM_STOPS) {
    char *stop = text + used;
    size_t len = 0;
    while (at < size && data[at] != '\n' && data[at] && len < 100) stop[len++] = (char)data[at++];
    stop[len] = 0, at++;
    stops[n_stops] = stop;
    tri_stream *s;
    if (tri_stream_open(&s, t, &stops[n_stops], 1, NULL) != TRI_OK)
      continue; /* refused: empty or invalid UTF-8 */
    tri_stream_close(&s);
    n_stops++, used += len + 1;
  }
  if (at < size && data[at] == '\n') at++;
  if (at > size) at = size;
  tri_buf a = run(t, stops, n_stops, data + at, size - at, true),
          b = run(t, stops, n_stops, data + at, size - at, false);
  if (a.len != b.len || (a.len && memcmp(a.data, b.data, a.len) != 0)) abort();
  for (size_t i = 0; i < n_stops; i++)
    if (a.len && memmem(a.data, a.len, stops[i], strlen(stops[i]))) abort();
  tri_buf_free(&a);
  tri_buf_free(&b);
  return 0;
}
