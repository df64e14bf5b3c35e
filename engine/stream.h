/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_STREAM_H
#define TRI_ENGINE_STREAM_H
#include "base/buf.h"
#include "engine/tokenizer.h"

/* Generated tokens -> text that may be shown: never half a UTF-8 character, never a part of a stop string. One per
 * sequence. Bytes that can never become valid UTF-8 come out as U+FFFD. */

enum { TRI_STREAM_STOPS = 8, TRI_STREAM_STOP_BYTES = 256 };

typedef struct tri_stream tri_stream;

/* Stop strings are copied; at most TRI_STREAM_STOPS of at most TRI_STREAM_STOP_BYTES bytes, else TRI_E_LIMIT; empty or
 * invalid UTF-8: TRI_E_INVALID. The tokenizer must outlive the stream. */
TRI_MUST_CHECK tri_status tri_stream_open(tri_stream **out, const tri_tokenizer *t, const char *const *stops, size_t n_stops,
                                          tri_error *err);
void tri_stream_close(tri_stream **s);
/* Feed one token; appends the text that has become safe to *out. *stopped becomes true when a stop string is complete
 * (the text before it has been appended, the stop string and what follows it never is), and stays true. Of several stop
 * strings the one that is complete first wins, the longest of those that end together; so the text never depends on how
 * it was cut into tokens. TRI_E_NOMEM. */
TRI_MUST_CHECK tri_status tri_stream_push(tri_stream *s, int32_t id, tri_buf *out, bool *stopped);
/* The end: append what was held back (nothing after a stop). An incomplete character comes out as one U+FFFD. */
TRI_MUST_CHECK tri_status tri_stream_finish(tri_stream *s, tri_buf *out);

#endif
