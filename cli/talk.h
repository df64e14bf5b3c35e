/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_TALK_H
#define TRI_CLI_TALK_H
#include "engine/template.h"
#include "engine/tokenizer.h"

/* A conversation: its messages, and the prompt that they make by a chat template, within a context. */

typedef struct tri_talk tri_talk;

typedef struct tri_talk_options {
  const tri_tokenizer *tokenizer; /* must outlive the talk */
  const char *template; /* a name that tri_template_known knows, or a file of one; NULL: the model's own */
  const char *system;   /* first message, never dropped; NULL: none */
  int32_t context;      /* tokens that prompt and answer have together */
} tri_talk_options;

/* TRI_E_UNSUPPORTED: the model has no template, or one that can't be read; says what to do. */
TRI_MUST_CHECK tri_status tri_talk_open(tri_talk **out, const tri_talk_options *o, tri_error *err);
void tri_talk_close(tri_talk **t);

/* Add what was said; role is "user" or "assistant", a literal. TRI_E_NOMEM. */
TRI_MUST_CHECK tri_status tri_talk_add(tri_talk *t, const char *role, const char *text, size_t len, tri_error *err);
/* Take back the last message. */
void tri_talk_undo(tri_talk *t);
/* Forget all but the system's message. */
void tri_talk_reset(tri_talk *t);

typedef struct tri_talk_dropped {
  size_t turns, tokens; /* questions with their answers, and how much shorter the prompt is without them */
} tri_talk_dropped;

/* Put the prompt for the next answer into *ids. Where it would leave less than `room` tokens for that, the oldest turns are left out,
 * now and later, as few as can be; the last message stays. TRI_E_INVALID: that one alone leaves no room. */
TRI_MUST_CHECK tri_status tri_talk_prompt(tri_talk *t, int32_t room, tri_ids *ids, tri_talk_dropped *dropped, tri_error *err);

/* Write all messages, those left out too, as a JSON array of {"role", "content"}. */
TRI_MUST_CHECK tri_status tri_talk_save(const tri_talk *t, const char *path, tri_error *err);

#endif
