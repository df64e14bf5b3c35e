/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_NEED_H
#define TRI_ENGINE_NEED_H
#include "engine/stage.h"

/* The memory that a worker needs for a stage: the coordinator's plan and the worker's own check both ask here. */

/* tri_stage_need_bytes, and what serving it takes beside: rows in float32, and with the head logits, a sampler and every slot's
 * tokens and parameters. Not what is on its way: a few steps of at most max_rows rows; nor, while there are jobs with a grammar,
 * the vocabulary's order (engine/lexicon.h) and their states, half as much again as TRI_DRAW_GRAMMARS at most. SIZE_MAX: more than
 * can be. */
size_t tri_need_bytes(const tri_model *m, const tri_stage_spec *spec, int threads);

#endif
