/* SPDX-License-Identifier: MIT */
#ifndef TRI_CLI_PLAN_NODES_H
#define TRI_CLI_PLAN_NODES_H
#include <jansson.h>
#include "coordinator/plan_file.h"

/* The nodes that `trireme plan` plans for, from where they come. */

/* Add the workers of a coordinator's status that are not lost. TRI_E_PROTOCOL: it is not as it should be. */
TRI_MUST_CHECK tri_status tri_plan_nodes_from_status(tri_plan_file *f, const json_t *status, tri_error *err);
/* A file's nodes: what it gives of one that is there goes before what is known, others are added. */
TRI_MUST_CHECK tri_status tri_plan_nodes_merge(tri_plan_file *f, const tri_plan_file *more, tri_error *err);
/* "+pi5:8G,-n3,+b:2G:like=n1": add a node with that much memory and the figures of another (the middle one by speed if none is
 * named), take one away. */
TRI_MUST_CHECK tri_status tri_plan_nodes_what_if(tri_plan_file *f, const char *changes, tri_error *err);
/* Each has what a plan needs of it. */
TRI_MUST_CHECK tri_status tri_plan_nodes_check(const tri_plan_file *f, tri_error *err);

#endif
