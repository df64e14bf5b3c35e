/* SPDX-License-Identifier: MIT */
#define WIDTH 16
#define ROWS 4
#include "kernels/q6_vector.h"

#include "kernels/arm/dot2_neon.h"

#define GEMM tri_q6_neon_gemm
#include "kernels/arm/q6_arm.h"
