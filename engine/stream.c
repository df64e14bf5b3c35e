/* SPDX-License-Identifier: MIT */
#include "engine/stream.h"

#include <stdlib.h>
#include <string.h>
#include "engine/utf8.h"

/* A stop string as an automaton (Knuth, Morris, Pratt 1977): after each byte, `matched` is the length of the
 * longest suffix of the text that is a prefix of the string. That is what must be held back. */
typedef struct stop {
  size_t len, matched;
  uint8_t text[TRI_STREAM_STOP_BYTES];
  uint16_t fail[TRI_STREAM_STOP_BYTES]; /* fail[i]: the longest proper border of text[0..i] */
} stop;

struct tri_stream {
  const tri_tokenizer *t;
  stop stops[TRI_STREAM_STOPS];
  size_t n_stops;
  uint8_t partial[4]; /* the start of a character */
  size_t n_partial;
  uint8_t held[TRI_STREAM_STOP_BYTES]; /* the end of the text, the start of a stop string */
  size_t n_held;
  bool stopped;
};

static tri_status check_stop(const char *text, size_t len, tri_error *err) {
  if (!len) return tri_status_fail(err, TRI_E_INVALID, "a stop string is empty");
  if (len > TRI_STREAM_STOP_BYTES)
    return tri_status_fail(err, TRI_E_LIMIT, "a stop string of %zu bytes, more than the limit of %d", len,
                           TRI_STREAM_STOP_BYTES);
  for (size_t i = 0; i < len;) {
    int n = tri_utf8_next((const uint8_t *)text + i, len - i);
    if (n <= 0) return tri_status_fail(err, TRI_E_INVALID, "a stop string is not valid UTF-8 at byte %zu", i);
    i += (size_t)n;
  }
  return TRI_OK;
}

static size_t advance(const stop *s, size_t matched, uint8_t byte) {
  while (matched && s->text[matched] != byte) matched = s->fail[matched - 1];
  return matched + (s->text[matched] == byte);
}

static void set_stop(stop *s, const char *text, size_t len) {
  s->len = len;
  memcpy(s->text, text, len);
  for (size_t i = 1; i < len; i++) s->fail[i] = (uint16_t)advance(s, s->fail[i - 1], s->text[i]);
}

tri_status tri_stream_open(tri_stream **out, const tri_tokenizer *t, const char *const *stops, size_t n_stops,
                           tri_error *err) {
  if (n_stops > TRI_STREAM_STOPS)
    return tri_status_fail(err, TRI_E_LIMIT, "%zu stop strings, more than the limit of %d", n_stops,
                           TRI_STREAM_STOPS);
  for (size_t i = 0; i < n_stops; i++) {
    tri_status st = check_stop(stops[i], strlen(stops[i]), err);
    if (st != TRI_OK) return st;
  }
  tri_stream *s = calloc(1, sizeof *s);
  if (!s) return tri_status_fail(err, TRI_E_NOMEM, "out of memory for a stream");
  s->t = t;
  s->n_stops = n_stops;
  for (size_t i = 0; i < n_stops; i++) set_stop(&s->stops[i], stops[i], strlen(stops[i]));
  *out = s;
  return TRI_OK;
}

void tri_stream_close(tri_stream **s) {
  free(*s);
  *s = NULL;
}

/* One byte of valid UTF-8. Stop strings are valid too, so what is held back starts with a whole character. */
static void feed_byte(tri_stream *s, uint8_t byte, tri_buf *out) {
  size_t hold = 0, complete = 0;
  for (size_t i = 0; i < s->n_stops; i++) {
    stop *p = &s->stops[i];
    p->matched = advance(p, p->matched, byte);
    if (p->matched > hold) hold = p->matched;
    if (p->matched == p->len && p->len > complete) complete = p->len;
  }
  if (complete) hold = complete, s->stopped = true;
  /* The text now is held + byte; all but its last `hold` bytes can go out. */
  size_t show = s->n_held + 1 - hold;
  if (show > s->n_held) {
    tri_buf_append(out, s->held, s->n_held);
    tri_buf_byte(out, byte);
    s->n_held = 0;
    return;
  }
  tri_buf_append(out, s->held, show);
  s->n_held -= show;
  memmove(s->held, s->held + show, s->n_held);
  s->held[s->n_held++] = byte;
}

static void feed(tri_stream *s, const uint8_t *bytes, size_t len, tri_buf *out) {
  for (size_t i = 0; i < len && !s->stopped; i++) feed_byte(s, bytes[i], out);
}

static void feed_replacement(tri_stream *s, tri_buf *out) {
  feed(s, (const uint8_t *)"\xef\xbf\xbd", 3, out);
}

/* Any byte: whole characters go on, what can't become one is replaced. */
static void feed_raw(tri_stream *s, uint8_t byte, tri_buf *out) {
  s->partial[s->n_partial++] = byte;
  while (s->n_partial && !s->stopped) {
    int n = tri_utf8_next(s->partial, s->n_partial);
    if (!n) return;
    if (n > 0)
      feed(s, s->partial, (size_t)n, out);
    else
      feed_replacement(s, out);
    size_t used = (size_t)(n < 0 ? -n : n);
    s->n_partial -= used;
    memmove(s->partial, s->partial + used, s->n_partial);
  }
}

tri_status tri_stream_push(tri_stream *s, int32_t id, tri_buf *out, bool *stopped) {
  tri_str piece = tri_tokenizer_piece(s->t, id, false);
  for (size_t i = 0; i < piece.len && !s->stopped; i++) feed_raw(s, (uint8_t)piece.data[i], out);
  *stopped = s->stopped;
  return tri_buf_ok(out) ? TRI_OK : TRI_E_NOMEM;
}

tri_status tri_stream_finish(tri_stream *s, tri_buf *out) {
  if (s->n_partial && !s->stopped) feed_replacement(s, out);
  s->n_partial = 0;
  if (!s->stopped) tri_buf_append(out, s->held, s->n_held);
  s->n_held = 0;
  s->stopped = true; /* nothing more comes out */
  return tri_buf_ok(out) ? TRI_OK : TRI_E_NOMEM;
}
