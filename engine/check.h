/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_CHECK_H
#define TRI_ENGINE_CHECK_H
#include "engine/ternary.h"

/* A file looked at to its last byte: what each tensor holds. */

typedef struct tri_check_tensor {
  bool ternary;          /* else the rest is 0 */
  tri_ternary_form form;
  float least, most;     /* scales of the rows, those of zeros left out */
  double zeros;          /* share of the weights */
} tri_check_tensor;

/* Reads all of a tensor. TRI_E_FORMAT: codes that are no ternary weights, scales or values that are not finite; the other errors
 * of tri_ternary_open; messages name file and tensor. Types unknown here pass unread. */
TRI_MUST_CHECK tri_status tri_check_read(const tri_gguf *g, const tri_gguf_tensor *t, tri_check_tensor *out, tri_error *err);

#endif
