/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "cli/cli.h"
#include "engine/tokenizer.h"

static const char *path;
static bool decode, ids_only, as_json, lines, no_special, no_bos;
static const tri_arg args[] = {
    {"model", 'm', TRI_ARG_STRING, &path, "FILE", "A GGUF model, a tokenizer.json or tokenizer.model, or a folder with one of these.", 0, 0},
    {"decode", 'd', TRI_ARG_FLAG, &decode, NULL, "The other way: the input is ids, with blanks or commas between them.", 0, 0},
    {"ids", 0, TRI_ARG_FLAG, &ids_only, NULL, "Print the ids alone, on one line.", 0, 0},
    {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print one JSON document: ids, and the text that they stand for.", 0, 0},
    {"lines", 0, TRI_ARG_FLAG, &lines, NULL, "Each line of the input is a JSON string; answer each with a line as --json does.", 0, 0},
    {"no-special", 0, TRI_ARG_FLAG, &no_special, NULL, "Read tokens such as <|eot_id|> in the text as plain text, and leave them out of "
     "decoded text.", 0, 0},
    {"no-bos", 0, TRI_ARG_FLAG, &no_bos, NULL, "Leave out the begin and end tokens that the model wants.", 0, 0},
};
static const tri_args_spec spec = {
    "trireme tokenize", "Show the tokens of a text, or the text of tokens.", "-m FILE [TEXT] [options]",
    "  trireme tokenize -m models/story-bitnet.gguf \"Once upon a time\"\n"
    "  trireme tokenize -m ~/Llama-3-8B/tokenizer.json --ids < chapter.txt\n"
    "  trireme tokenize -m model.gguf --decode 8176 512 17\n",
    args, sizeof args / sizeof *args};

/* --- a text in, ids out --- */

static tri_status encode(const tri_tokenizer *t, const char *text, size_t len, tri_ids *out, tri_error *err) {
  tri_status status = TRI_OK;
  out->len = 0;
  if (!no_bos && tri_tokenizer_adds_bos(t)) status = tri_ids_push(out, tri_tokenizer_bos(t));
  if (status == TRI_OK) status = tri_tokenizer_encode(t, text, len, !no_special, out, err);
  if (status == TRI_OK && !no_bos && tri_tokenizer_adds_eos(t)) status = tri_ids_push(out, tri_tokenizer_eos(t));
  return status;
}

static bool text_of(const tri_tokenizer *t, const tri_ids *ids, tri_buf *out) {
  tri_buf_clear(out);
  tri_tokenizer_decode(t, ids->data, ids->len, !no_special, out);
  return tri_buf_ok(out);
}

/* Ids, and their text: null where that is not UTF-8. One line. */
static tri_status print_json(const tri_tokenizer *t, const tri_ids *ids, tri_error *err) {
  tri_buf text = {0};
  json_t *list = json_array();
  for (size_t i = 0; i < ids->len; i++) json_array_append_new(list, json_integer(ids->data[i]));
  json_t *decoded = text_of(t, ids, &text) && text.len ? json_stringn((char *)text.data, text.len) : json_string("");
  json_t *doc = json_pack("{s:o, s:o?}", "ids", list, "text", decoded);
  tri_buf_free(&text);
  if (!doc) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
  json_dumpf(doc, stdout, JSON_COMPACT);
  putchar('\n');
  json_decref(doc);
  return TRI_OK;
}

/* A token's bytes in quotes, so that blanks and what isn't text can be seen. */
static void print_piece(tri_str piece) {
  putchar('"');
  for (size_t i = 0; i < piece.len; i++) {
    unsigned char c = (unsigned char)piece.data[i];
    if (c == '"' || c == '\\') printf("\\%c", c);
    else if (c == '\n') fputs("\\n", stdout);
    else if (c == '\t') fputs("\\t", stdout);
    else if (c == '\r') fputs("\\r", stdout);
    else if (c < 0x20 || c == 0x7f) printf("\\x%02x", c);
    else putchar(c);
  }
  puts("\"");
}

static void print_table(const tri_tokenizer *t, const tri_ids *ids, size_t bytes) {
  static const char *const types[] = {[TRI_TOKEN_NORMAL] = "", [TRI_TOKEN_UNKNOWN] = "unknown", [TRI_TOKEN_CONTROL] = "control",
                                      [TRI_TOKEN_USER] = "added", [TRI_TOKEN_UNUSED] = "unused", [TRI_TOKEN_BYTE] = "byte"};
  for (size_t i = 0; i < ids->len; i++) {
    printf("%7d  %-8s ", ids->data[i], types[tri_tokenizer_type(t, ids->data[i])]);
    print_piece(tri_tokenizer_piece(t, ids->data[i], true));
  }
  printf("%zu token%s, %zu bytes of text\n", ids->len, ids->len == 1 ? "" : "s", bytes);
}

static tri_status show(const tri_tokenizer *t, const tri_ids *ids, size_t bytes, tri_error *err) {
  if (as_json || lines) return print_json(t, ids, err);
  if (!ids_only) return print_table(t, ids, bytes), TRI_OK;
  for (size_t i = 0; i < ids->len; i++) printf(i ? " %d" : "%d", ids->data[i]);
  putchar('\n');
  return TRI_OK;
}

/* --- ids in, text out --- */

static tri_status read_ids(const tri_tokenizer *t, const char *text, tri_ids *out, tri_error *err) {
  static const char between[] = " ,\t\r\n[]";
  for (const char *p = text + strspn(text, between); *p; p += strspn(p, between)) {
    char *end;
    long id = strtol(p, &end, 10);
    if (end == p || (*end && !strchr(between, *end)) || id < 0 || (size_t)id >= tri_tokenizer_size(t))
      return tri_status_fail(err, TRI_E_INVALID, "'%.20s' is not the id of one of %zu tokens", p, tri_tokenizer_size(t));
    if (tri_ids_push(out, (int32_t)id) != TRI_OK) return tri_status_fail(err, TRI_E_NOMEM, "out of memory");
    p = end;
  }
  return TRI_OK;
}

static tri_status show_text(const tri_tokenizer *t, const tri_buf *input, tri_error *err) {
  tri_ids ids = {0};
  tri_buf text = {0};
  tri_status status = input->len ? read_ids(t, (const char *)input->data, &ids, err) : TRI_OK;
  if (status == TRI_OK && as_json) status = print_json(t, &ids, err);
  else if (status == TRI_OK && text_of(t, &ids, &text) && text.len) {
    fwrite(text.data, 1, text.len, stdout);
    if (text.data[text.len - 1] != '\n') putchar('\n');
  }
  tri_buf_free(&text);
  tri_ids_free(&ids);
  return status;
}

/* --- the command --- */

static tri_status each_line(const tri_tokenizer *t, const tri_buf *input, tri_error *err) {
  tri_ids ids = {0};
  tri_status status = TRI_OK;
  size_t number = 0;
  for (size_t at = 0, end; at < input->len && status == TRI_OK; at = end + 1) {
    const uint8_t *newline = memchr(input->data + at, '\n', input->len - at);
    end = newline ? (size_t)(newline - input->data) : input->len;
    number++;
    json_t *text = json_loadb((const char *)input->data + at, end - at, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (!json_is_string(text)) status = tri_status_fail(err, TRI_E_INVALID, "line %zu of the input is not a JSON string", number);
    else status = encode(t, json_string_value(text), json_string_length(text), &ids, err);
    if (status == TRI_OK) status = show(t, &ids, json_string_length(text), err);
    json_decref(text);
  }
  tri_ids_free(&ids);
  return status;
}

static tri_status read_input(int argc, char **argv, tri_buf *out, tri_error *err) {
  if (argc == 0) return tri_file_read(out, "-", TRI_TOKENIZER_TEXT_BYTES, err);
  for (int i = 0; i < argc; i++) tri_buf_printf(out, i ? " %s" : "%s", argv[i]);
  return tri_buf_ok(out) ? TRI_OK : tri_status_fail(err, TRI_E_NOMEM, "out of memory");
}

static tri_status tokenize(const tri_tokenizer *t, const tri_buf *input, tri_error *err) {
  tri_ids ids = {0};
  tri_status status = encode(t, (const char *)input->data, input->len, &ids, err);
  if (status == TRI_OK) status = show(t, &ids, input->len, err);
  tri_ids_free(&ids);
  return status;
}

int tri_cli_tokenize(int argc, char **argv) {
  tri_error err;
  int code, n;
  tri_tokenizer *t = NULL;
  tri_buf input = {0};
  if (!tri_cli_parse(&spec, argc, argv, 0, argc, &n, &code)) return code;
  tri_status status = TRI_OK;
  if (!path) status = tri_status_fail(&err, TRI_E_INVALID, "a tokenizer is needed: -m FILE");
  else if (decode && (lines || ids_only)) status = tri_status_fail(&err, TRI_E_INVALID, "--decode goes with neither --lines nor --ids");
  if (status == TRI_OK) status = tri_tokenizer_load(&t, path, &err);
  if (status == TRI_OK) status = read_input(n, argv + 1, &input, &err);
  if (status == TRI_OK) status = decode ? show_text(t, &input, &err) : lines ? each_line(t, &input, &err) : tokenize(t, &input, &err);
  tri_buf_free(&input);
  tri_tokenizer_close(&t);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}
