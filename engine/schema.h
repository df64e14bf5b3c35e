/* SPDX-License-Identifier: MIT */
#ifndef TRI_ENGINE_SCHEMA_H
#define TRI_ENGINE_SCHEMA_H
#include "base/buf.h"

/* A JSON schema as a grammar (engine/grammar.h) whose texts all are JSON documents that the schema takes. Not every such document
 * is one of them: an object has its properties in the schema's order and no others, constants are written in one way, numbers
 * have at most 16 digits before and after the point, and between two tokens stands at most a blank, or a line's end and 20
 * blanks, so that a model can't go on with blanks for ever.
 *
 * Understood: type (also a list), properties, required, additionalProperties, items, minItems, maxItems, minLength, maxLength,
 * enum, const, anyOf, $ref into #/$defs or #/definitions or to #, true and {}: all that the "strict" schemas of OpenAI's
 * response_format need but their patterns, formats and bounds of numbers. Annotations are passed over. */

enum { TRI_SCHEMA_BYTES = 1 << 18 };

/* Append the grammar's text to *out. TRI_E_INVALID: no JSON, or no schema; TRI_E_UNSUPPORTED names a keyword that is not
 * understood and where it stands; TRI_E_LIMIT: too long or too deep. */
TRI_MUST_CHECK tri_status tri_schema_to_grammar(const char *json, size_t len, tri_buf *out, tri_error *err);

#endif
