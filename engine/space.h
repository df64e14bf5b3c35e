/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_SPACE_H
#define TRI_ENGINE_SPACE_H

/* White space in PCRE2's patterns, as what stands inside [ ]: Unicode's White_Space, which tokenizers mean by \s. PCRE2's own
 * \s has U+180E too. BLANK is without the line ends \r and \n. */
#define TRI_BLANK "\\t\\x0b\\f \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define TRI_SPACE "\\r\\n" TRI_BLANK

#endif
