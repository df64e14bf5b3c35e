/* SPDX-License-Identifier: MIT */
#ifndef TRI_WORKER_FINISH_H
#define TRI_WORKER_FINISH_H
#include "engine/stage.h"
#include "proto/codec.h"
#include "worker/runner.h"

/* What only the last stage does: from hidden rows to tokens, scores or logits. It keeps each slot's tokens (they come with
 * every step) for penalties and grammars. One thread's. */

typedef struct tri_finish tri_finish;

/* For a stage with head, which must outlive it. */
TRI_MUST_CHECK tri_status tri_finish_create(tri_finish **out, tri_stage *stage, const tri_model *m, const tri_kernels *k, tri_error *err);
void tri_finish_destroy(tri_finish **f);
size_t tri_finish_bytes(const tri_finish *f); /* that it holds */
/* A sequence begins in a slot. TRI_E_PROTOCOL: no such slot, parameters out of range, or not the payload that it should be. A grammar that can't be had fails the
 * sequence's first token. */
TRI_MUST_CHECK tri_status tri_finish_open(tri_finish *f, const tri_opening *opening, tri_error *err);
/* TRI_E_PROTOCOL when a step whose rows are in order asks for something impossible. */
TRI_MUST_CHECK tri_status tri_finish_check(const tri_finish *f, const tri_msg_step *m, tri_error *err);
/* hidden [n_rows, d] of a checked step. A token that can't be drawn is told in out->failures. *payload (malloc'ed, the caller's)
 * holds the logits if a run wants them, else NULL. */
TRI_MUST_CHECK tri_status tri_finish_step(tri_finish *f, const tri_msg_step *m, const float *hidden, tri_msg_result *out, uint8_t **payload,
                                          size_t *payload_len, tri_error *err);

#endif
