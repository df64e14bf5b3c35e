/* SPDX-License-Identifier: MIT */
#include "kernels/arm/dot2_neon.h"

#define GEMM tri_q8_neon_gemm
#include "kernels/arm/q8_body.h"
