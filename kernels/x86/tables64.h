/* SPDX-License-Identifier: MIT */
#ifndef TRI_KERNELS_X86_TABLES64_H
#define TRI_KERNELS_X86_TABLES64_H

/* ALL(f) is f(0), f(1) ... f(63): the initialiser of a table for vpermb. */
#define FOUR(f, n) f(n), f((n) + 1), f((n) + 2), f((n) + 3)
#define SIXTEEN(f, n) FOUR(f, n), FOUR(f, (n) + 4), FOUR(f, (n) + 8), FOUR(f, (n) + 12)
#define ALL(f) SIXTEEN(f, 0), SIXTEEN(f, 16), SIXTEEN(f, 32), SIXTEEN(f, 48)

/* the three lowest digits of r in base 3, two bits each, the lowest digit lowest */
#define CODES(r) ((r) % 3 | (r) / 3 % 3 << 2 | (r) / 9 % 3 << 4)

#endif
