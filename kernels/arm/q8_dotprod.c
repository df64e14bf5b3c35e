/* SPDX-License-Identifier: MIT */
#include "kernels/arm/dot2_dotprod.h"

#define GEMM tri_q8_dotprod_gemm
#include "kernels/arm/q8_body.h"
