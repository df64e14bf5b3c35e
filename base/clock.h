/* SPDX-License-Identifier: MIT */
#ifndef TRI_BASE_CLOCK_H
#define TRI_BASE_CLOCK_H
#include <stdint.h>

/* Monotonic time. State machines never call these: they take `now_ms` as an argument. */
int64_t tri_clock_ms(void);
int64_t tri_clock_us(void);
int64_t tri_clock_wall_ms(void); /* since 1970; may jump */
int64_t tri_clock_ns(void);

#endif
