/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_LINES_H
#define TRI_CLI_LINES_H
#include "base/buf.h"

/* Lines from standard input: edited, with those before at hand, on a terminal (libedit); plain otherwise. One at a time. */

enum { TRI_LINES_BYTES = 1 << 20 }; /* longest line of a file, else TRI_E_LIMIT */

typedef enum tri_lines_event { TRI_LINES_LINE, TRI_LINES_END, TRI_LINES_INTERRUPT } tri_lines_event;

bool tri_lines_are_edited(void);

/* Wait for the next line, without its end, in *line (cleared first), for the end of the input, or until interrupt_fd is readable. On a
 * terminal `prompt` stands before it. */
TRI_MUST_CHECK tri_status tri_lines_next(const char *prompt, int interrupt_fd, tri_buf *line, tri_lines_event *event, tri_error *err);

#endif
