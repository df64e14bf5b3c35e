/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_ORDER_H
#define TRI_ENGINE_ORDER_H
#include "engine/layouts.h"

/* Which order a file's I2_S was packed in. No byte of the file says so; the weights do. A trained matrix has more zeros in some
 * columns than in others, and how many goes with the weight that the norm before it gives the column, up or down. Read in another
 * order, the columns are shuffled among their neighbours and nothing goes with anything.
 *
 * Measure: for each linear of two layers, z = sqrt(k) r, with r the correlation of the columns' zeros and the norm's weights, both
 * less their means over 128 neighbours; then the sum of z squared over the linears, about their number where nothing is related.
 * The trained models of tests/fixtures have 305 and 1,982 in the right order, 14 to 76 in a wrong one. */

/* True if the weights leave no doubt: *out. False if they don't tell (random weights, norms all ones) or none are I2_S. */
bool tri_order_find(const tri_gguf *g, tri_i2s_order *out);
const char *tri_order_name(tri_i2s_order order); /* "x86", "arm" or "fours" */
/* TRI_E_UNSUPPORTED, with the command that helps, if the file is surely in an order that the engine doesn't run. */
TRI_MUST_CHECK tri_status tri_order_check(const tri_gguf *g, tri_error *err);

#endif
