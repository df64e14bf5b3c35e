/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_CHAT_H
#define TRI_CLI_CHAT_H
#include "cli/follow.h"

/* What answers in a chat: a model in this process, or a cluster. */

typedef struct tri_chat_options {
  const char *model_path; /* a GGUF file; with a coordinator, whatever tri_tokenizer_load takes */
  const char *coordinator, *key_dir; /* NULL: no cluster */
  const char *kv_name;
  int64_t threads, context, timeout_s;
} tri_chat_options;

typedef struct tri_chat_model tri_chat_model;

TRI_MUST_CHECK tri_status tri_chat_model_open(tri_chat_model **out, const tri_chat_options *o, tri_error *err);
void tri_chat_model_close(tri_chat_model **m);
const tri_tokenizer *tri_chat_model_tokenizer(const tri_chat_model *m);
int32_t tri_chat_model_context(const tri_chat_model *m);

/* Answer a prompt as f->request says, with the grammar's text that it speaks of. The text goes to stdout as it comes, and ends its
 * line there; f is as after a job. A readable interrupt_fd ends it with TRI_E_CANCELLED; the text until then is in f. */
TRI_MUST_CHECK tri_status tri_chat_model_answer(tri_chat_model *m, const tri_ids *prompt, const tri_buf *grammar, int interrupt_fd,
                                                tri_follow *f, tri_error *err);

#endif
