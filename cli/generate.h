/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_GENERATE_H
#define TRI_CLI_GENERATE_H
#include "cli/follow.h"
#include "engine/single.h"

/* A model in this process that answers prompts: `run`, and `chat` and `batch` without a cluster. */

typedef struct tri_generator tri_generator;

/* Shows progress while it loads. TRI_E_UNSUPPORTED: the model has no tokenizer. */
TRI_MUST_CHECK tri_status tri_generator_open(tri_generator **out, const char *model_path, const tri_single_options *o, tri_error *err);
void tri_generator_close(tri_generator **g);
const tri_single *tri_generator_single(const tri_generator *g);
const tri_tokenizer *tri_generator_tokenizer(const tri_generator *g);
int32_t tri_generator_context(const tri_generator *g);

/* The ids of the prompt that a request with this payload has, appended to *ids: as a coordinator makes them. */
TRI_MUST_CHECK tri_status tri_generator_prompt(const tri_generator *g, const tri_msg_submit *request, const tri_buf *payload, tri_ids *ids,
                                               tri_error *err);
/* Answer a prompt's ids as f->request and the grammar in f->payload say; f's outputs are those of a job, and its text goes to stdout as
 * it comes, unless quiet. What the last prompt and answer have in common with this one is not computed again. A readable
 * interrupt_fd (-1: none) ends it with TRI_E_CANCELLED; the text until then is in f. */
TRI_MUST_CHECK tri_status tri_generator_answer(tri_generator *g, const tri_ids *prompt, int interrupt_fd, tri_follow *f, tri_error *err);

#endif
