// SPDX-License-Identifier: Apache-2.0
#ifndef WEIR_HEALTH_CLUSTER_INTERNAL_H
#define WEIR_HEALTH_CLUSTER_INTERNAL_H

#include "health/cluster/cluster.h"

#define CLUSTER_KEY_SIZE 96
#define CLUSTER_STREAM "portoser:health::results"
#define CLUSTER_MAINTENANCE "portoser:health::maintenance"

// cluster_send.c

// Once, before all else.
void cluster_send_start(struct cluster *cluster);
// The key of a share's lease, or of its states: "portoser:health::lease:7:0123456789abcdef". No
// service has an empty name, so that these keys and those of services never meet.
void cluster_key(
    char key[CLUSTER_KEY_SIZE], const char *what, unsigned share, const struct shares *shares);
// False: it was dropped.
bool cluster_send_look(struct cluster *cluster);
void cluster_take_reply(struct cluster *cluster, unsigned tag, const struct redisReply *reply);
// Everything that is ours is to be told again.
void cluster_send_again(struct cluster *cluster);

// cluster.c
void cluster_answered(struct cluster *cluster);
void cluster_look_failed(struct cluster *cluster, const char *why);

// cluster_read.c
enum weir_result cluster_read_start(
    struct cluster *cluster, const struct redis_place *place) WEIR_MUST_CHECK;
void cluster_read_states(struct cluster *cluster);

#endif
