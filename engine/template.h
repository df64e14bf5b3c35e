/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_TEMPLATE_H
#define TRI_ENGINE_TEMPLATE_H
#include "base/buf.h"
#include "engine/gguf.h"

/* Chat templates: from a list of messages to the prompt that a model was trained on. They are written in the part of Jinja
 * (palletsprojects.com) that the models of our families use, with Hugging Face's settings (trim_blocks, lstrip_blocks):
 *   for with loop.*, if/elif/else, set; strings, integers, lists, dicts, attributes, slices, + - * ~ %, comparisons, in, and, or,
 *   not, x if y else z; tests (defined, none, string, mapping, iterable, number, true, false); filters and methods on strings and
 *   lists (trim, strip, upper, lower, capitalize, title, replace, split, startswith, endswith, join, length, default, first, last,
 *   get, items, ...); namespace(), range(), raise_exception().
 * Immutable after open, so threads may share it. */

typedef struct tri_template tri_template;

enum { TRI_TEMPLATE_BYTES = 256 << 10, TRI_TEMPLATE_STEPS = 4 << 20, TRI_TEMPLATE_MEMORY = 64 << 20 }; /* of one, of one render */

/* TRI_E_FORMAT: no sound template; TRI_E_UNSUPPORTED: it uses what we lack. Messages name the line. TRI_E_LIMIT: too long. */
TRI_MUST_CHECK tri_status tri_template_open(tri_template **out, tri_str text, tri_error *err);
void tri_template_close(tri_template **t);

/* The text of a template that is known by name, or NULL; and the names, "bitnet, chatml, ...". Both are static. */
const char *tri_template_known(const char *name);
const char *tri_template_names(void);

typedef struct tri_message {
  const char *role; /* "system", "user" or "assistant" */
  tri_str content;
} tri_message;

typedef struct tri_template_input {
  const tri_message *messages;
  size_t n;
  bool answer;      /* go on to where the assistant's next message begins */
  tri_str bos, eos; /* the tokens' texts */
} tri_template_input;

/* Append the prompt to *text, and to *plain a byte for each of its bytes: 1 where it comes from a message's content, in which no
 * control token shall be read. TRI_E_INVALID: the template refuses the messages, in its words; TRI_E_UNSUPPORTED, TRI_E_FORMAT: it
 * asks for what we lack or what has no sense; TRI_E_LIMIT: it takes more steps or memory than any sound one; TRI_E_NOMEM. */
TRI_MUST_CHECK tri_status tri_template_render(const tri_template *t, const tri_template_input *in, tri_buf *text, tri_buf *plain,
                                              tri_error *err);

#endif
