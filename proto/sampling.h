/* SPDX-License-Identifier: MIT */
#ifndef TRI_PROTO_SAMPLING_H
#define TRI_PROTO_SAMPLING_H
#include "engine/sampler.h"
#include "proto/codec.h"

/* The sampler's parameters and their form in messages. Values out of range stay out of range (huge counts become negative):
 * tri_sampler_check refuses them. */

static inline tri_sampler_params tri_sampling_to_params(const tri_sampling *s) {
  return (tri_sampler_params){.temperature = s->temperature, .top_k = (int32_t)s->top_k, .top_p = s->top_p, .min_p = s->min_p,
                              .repeat_penalty = s->repeat_penalty, .repeat_last = (int32_t)s->repeat_last, .seed = s->seed};
}

static inline tri_sampling tri_sampling_from_params(const tri_sampler_params *p) {
  return (tri_sampling){.temperature = p->temperature, .top_p = p->top_p, .min_p = p->min_p, .repeat_penalty = p->repeat_penalty,
                        .top_k = (uint32_t)p->top_k, .repeat_last = (uint32_t)p->repeat_last, .seed = p->seed};
}

#endif
