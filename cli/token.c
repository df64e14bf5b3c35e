/* SPDX-License-Identifier: MIT */
#include "proto/token.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <jansson.h>
#include <net/if.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "cli/cli.h"

enum { CONTROL_PORT = 7117 };

static const char *dir, *role_name = "worker", *ttl = "1h", *name = "", *endpoint;
static int64_t uses = 1;
static bool as_json;
static const tri_arg args[] = {
    {"key", 'k', TRI_ARG_STRING, &dir, "DIR", "The coordinator's key folder (default ~/.config/trireme/coordinator).", 0, 0},
    {"role", 0, TRI_ARG_STRING, &role_name, "ROLE", "What it makes of who joins: worker, client or admin (default worker).", 0, 0},
    {"uses", 0, TRI_ARG_INT, &uses, "N", "How many may join with it (default 1).", 1, TRI_TOKEN_MAX_USES},
    {"ttl", 0, TRI_ARG_STRING, &ttl, "TIME", "How long it is valid: 90s, 15m, 1h, 7d (default 1h, at most 30d).", 0, 0},
    {"name", 0, TRI_ARG_STRING, &name, "NAME", "What who joins is called, then NAME-2, NAME-3 … (default: as they ask).", 0, 0},
    {"endpoint", 0, TRI_ARG_STRING, &endpoint, "HOST:PORT",
     "Where they reach the coordinator, with the next port for joining (default: this machine's addresses, as the coordinator listens).",
     0, 0},
    {"json", 0, TRI_ARG_FLAG, &as_json, NULL, "Print one JSON document.", 0, 0},
};
static const tri_args_spec spec = {
    "trireme token",
    "Make, list or revoke tokens, by which a machine joins a coordinator without a key being carried about. Run it where the coordinator "
    "runs. Who has a token's line may join: hand it over as you would a password.",
    "create|list|revoke ID [options]",
    "  trireme token create --uses 3\n"
    "  trireme token create --role client --name alice --ttl 1d\n"
    "  trireme token list\n"
    "  trireme token revoke 3f9a\n",
    args, sizeof args / sizeof *args};

static tri_status parse_ttl(int64_t *out, tri_error *err) {
  static const struct { char unit; int64_t seconds; } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
  char *end;
  long long v = strtoll(ttl, &end, 10);
  for (size_t i = 0; i < sizeof units / sizeof *units; i++)
    if (end != ttl && *end == units[i].unit && !end[1] && v >= 1 && v <= TRI_TOKEN_MAX_TTL_S / units[i].seconds)
      return *out = v * units[i].seconds, TRI_OK;
  return tri_status_fail(err, TRI_E_INVALID, "--ttl %s: a time such as 90s, 15m, 1h or 7d is expected, at most 30d", ttl);
}

/* --- where the coordinator is --- */

/* HOST:PORT, perhaps with tcp:// before it. */
static tri_status split(const char *text, char host[TRI_MAX_ENDPOINT], uint16_t *port, tri_error *err) {
  if (strncmp(text, "tcp://", 6) == 0) text += 6;
  const char *colon = strrchr(text, ':');
  char *end = NULL;
  unsigned long n = colon ? strtoul(colon + 1, &end, 10) : 0;
  if (!colon || colon == text || *end || n == 0 || n > UINT16_MAX || (size_t)(colon - text) >= TRI_MAX_ENDPOINT)
    return tri_status_fail(err, TRI_E_INVALID, "\"%s\" is not of the form HOST:PORT", text);
  snprintf(host, TRI_MAX_ENDPOINT, "%.*s", (int)(colon - text), text);
  *port = (uint16_t)n;
  return TRI_OK;
}

/* This machine's addresses with commas between them, IPv4 first, as that is what small networks have; link-local ones need a scope
 * that means nothing elsewhere. */
static tri_status own_addresses(char out[TRI_MAX_ENDPOINT], tri_error *err) {
  struct ifaddrs *all = NULL;
  size_t len = 0;
  if (getifaddrs(&all) != 0) return tri_status_fail(err, TRI_E_IO, "cannot list this machine's addresses; give --endpoint HOST:PORT");
  for (int family = AF_INET; family; family = family == AF_INET ? AF_INET6 : 0) {
    for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
      char text[INET6_ADDRSTRLEN];
      if (!a->ifa_addr || a->ifa_addr->sa_family != family || (a->ifa_flags & IFF_LOOPBACK) || !(a->ifa_flags & IFF_UP)) continue;
      const struct in6_addr *v6 = &((const struct sockaddr_in6 *)a->ifa_addr)->sin6_addr;
      if (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(v6)) continue;
      const void *bytes = family == AF_INET ? (const void *)&((const struct sockaddr_in *)a->ifa_addr)->sin_addr : v6;
      if (!inet_ntop(family, bytes, text, sizeof text) || len + strlen(text) + 1 >= TRI_MAX_ENDPOINT) continue;
      len += (size_t)snprintf(out + len, TRI_MAX_ENDPOINT - len, "%s%s", len ? "," : "", text);
    }
  }
  freeifaddrs(all);
  return len ? TRI_OK : tri_status_fail(err, TRI_E_NOT_FOUND, "this machine has no address but the loopback; give --endpoint HOST:PORT");
}

static bool is_any(const char *host) { return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "*") == 0 || strcmp(host, "[::]") == 0; }

static tri_status find_coordinator(tri_token *t, tri_error *err) {
  char control[TRI_MAX_ENDPOINT], enrol[TRI_MAX_ENDPOINT], unused[TRI_MAX_ENDPOINT];
  tri_status status = tri_keys_load_listening(control, enrol, dir, err);
  bool ran = status == TRI_OK;
  if (status == TRI_E_NOT_FOUND) status = TRI_OK; /* it has never run: then it will on its usual port */
  if (status == TRI_OK && ran && !enrol[0])
    return tri_status_fail(err, TRI_E_INVALID, "the coordinator of %s takes no tokens (--enrol none)", dir);
  if (!ran) snprintf(control, sizeof control, "*:%d", CONTROL_PORT);
  if (status == TRI_OK) status = split(endpoint ? endpoint : control, t->hosts, &t->port, err);
  if (status == TRI_OK && t->port == UINT16_MAX)
    status = tri_status_fail(err, TRI_E_INVALID, "there is no port after %d for joining", UINT16_MAX);
  t->enrol_port = (uint16_t)(t->port + 1);
  if (status == TRI_OK && ran && !endpoint) status = split(enrol, unused, &t->enrol_port, err);
  if (status == TRI_OK && is_any(t->hosts)) status = own_addresses(t->hosts, err);
  return status;
}

/* --- the actions --- */

static void print_time(char out[32], int64_t at_s) {
  time_t t = (time_t)at_s;
  struct tm tm;
  strftime(out, 32, "%Y-%m-%d %H:%M:%S", localtime_r(&t, &tm));
}

static void show_new(const char *text, const tri_grant *g) {
  char id[TRI_TOKEN_ID_TEXT], until[32];
  tri_token_id_text(g->id, id);
  print_time(until, g->expires_s);
  if (as_json) {
    json_t *doc = json_pack("{s:s, s:s, s:s, s:i, s:I}", "token", text, "id", id, "role", tri_keys_role_name(g->role), "uses", (int)g->uses,
                            "expires", (json_int_t)g->expires_s);
    json_dumpf(doc, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(doc);
    return;
  }
  printf("%s\n", text);
  fprintf(stderr, "for %u %s%s, until %s; there: trireme%s join '…'\n", g->uses, tri_keys_role_name(g->role), g->uses == 1 ? "" : "s",
          until, g->role == TRI_ROLE_WORKER ? "-worker" : "");
}

static tri_status create(tri_error *err) {
  tri_keypair key = {0};
  tri_token t = {0};
  tri_grant g = {.uses = (uint32_t)uses};
  char text[TRI_TOKEN_TEXT];
  int64_t ttl_s = 0, now_s = (int64_t)time(NULL);
  tri_status status = tri_keys_load(&key, dir, err);
  if (status == TRI_OK) status = tri_keys_parse_role(&g.role, role_name, err);
  if (status == TRI_OK) status = parse_ttl(&ttl_s, err);
  if (status == TRI_OK && strlen(name) >= sizeof g.name) status = tri_status_fail(err, TRI_E_INVALID, "--name: too long");
  if (status == TRI_OK) status = find_coordinator(&t, err);
  if (status == TRI_OK) status = tri_token_draw(&t, err);
  memcpy(t.coordinator, key.public_key, TRI_KEY_BYTES);
  tri_keys_wipe(&key);
  if (status == TRI_OK) status = tri_token_print(&t, text, err);
  if (status == TRI_OK) {
    memcpy(g.id, t.id, sizeof g.id);
    tri_token_key(&t, g.key);
    g.expires_s = now_s + ttl_s;
    strcpy(g.name, name);
    status = tri_token_add(&g, dir, now_s, err);
  }
  if (status == TRI_OK) show_new(text, &g);
  sodium_memzero(&t, sizeof t);
  sodium_memzero(&g, sizeof g);
  sodium_memzero(text, sizeof text);
  return status;
}

static void show_grant(const tri_grant *g, int64_t now_s, json_t *tokens) {
  char id[TRI_TOKEN_ID_TEXT], until[32];
  tri_token_id_text(g->id, id);
  if (tokens) {
    json_array_append_new(tokens, json_pack("{s:s, s:s, s:i, s:I, s:b, s:s}", "id", id, "role", tri_keys_role_name(g->role), "uses",
                                            (int)g->uses, "expires", (json_int_t)g->expires_s, "live", tri_token_is_live(g, now_s), "name",
                                            g->name));
    return;
  }
  print_time(until, g->expires_s);
  printf("%s  %-6s  %5u  %s  %-7s  %s\n", id, tri_keys_role_name(g->role), g->uses, until,
         tri_token_is_live(g, now_s) ? "live" : g->uses ? "expired" : "used up", g->name);
}

static tri_status list(tri_error *err) {
  tri_grant_list grants = {0};
  int64_t now_s = (int64_t)time(NULL);
  tri_status status = tri_token_load(&grants, dir, now_s, err);
  if (status != TRI_OK) return status;
  json_t *tokens = as_json ? json_array() : NULL;
  if (!as_json && grants.count) printf("%-16s  %-6s  %5s  %-19s  %-7s  name\n", "id", "role", "uses", "until", "state");
  if (!as_json && !grants.count) printf("there are no tokens\n");
  for (size_t i = 0; i < grants.count; i++) show_grant(&grants.items[i], now_s, tokens);
  if (as_json) {
    json_t *doc = json_pack("{s:o}", "tokens", tokens);
    json_dumpf(doc, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(doc);
  }
  tri_token_free_list(&grants);
  return TRI_OK;
}

static tri_status revoke(const char *id, tri_error *err) {
  tri_status status = tri_token_revoke(id, dir, (int64_t)time(NULL), err);
  if (status == TRI_OK) printf("token %s is no longer valid; who has joined with it stays: see `trireme keys`\n", id);
  return status;
}

int tri_cli_token(int argc, char **argv) {
  int code, n;
  if (!tri_cli_parse(&spec, argc, argv, 1, 2, &n, &code)) return code;
  tri_error err = {0};
  char own_dir[PATH_MAX];
  tri_status status = dir ? TRI_OK : tri_keys_default_dir(own_dir, "coordinator", &err);
  if (!dir) dir = own_dir;
  if (status != TRI_OK) return tri_cli_fail(&err);
  if (strcmp(argv[1], "create") == 0 && n == 1) status = create(&err);
  else if (strcmp(argv[1], "list") == 0 && n == 1) status = list(&err);
  else if (strcmp(argv[1], "revoke") == 0 && n == 2) status = revoke(argv[2], &err);
  else status = tri_status_fail(&err, TRI_E_INVALID, "usage: %s %s", spec.command, spec.usage);
  return status == TRI_OK ? 0 : tri_cli_fail(&err);
}
