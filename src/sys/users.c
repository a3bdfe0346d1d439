// SPDX-License-Identifier: Apache-2.0
#include "sys/users.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#define USERS_MAX 32 // remembered; the oldest goes first
#define NAME_SIZE 256
#define ENTRY_SIZE 16384

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    char name[NAME_SIZE]; // "": free
    struct sys_identity identity;
} known[USERS_MAX];
static unsigned next;

static enum weir_result ask(const char *name, struct sys_identity *ret_identity)
{
    char bytes[ENTRY_SIZE];
    struct passwd entry;
    struct passwd *user = NULL;
    int error = getpwnam_r(name, &entry, bytes, sizeof bytes, &user);
    if (user == NULL) {
        return error == ERANGE ? WEIR_TOO_LARGE : WEIR_NOT_FOUND;
    }
    *ret_identity = (struct sys_identity){
        .uid = user->pw_uid, .gid = user->pw_gid, .group_count = SYS_USER_GROUPS_MAX};
    int count = getgrouplist(name, user->pw_gid, ret_identity->groups, &ret_identity->group_count);
    return count < 0 ? WEIR_TOO_LARGE : WEIR_OK;
}

// Under the lock; USERS_MAX: it is not there.
static unsigned find(const char *name)
{
    unsigned at = 0;
    while (at < USERS_MAX && strcmp(known[at].name, name) != 0) {
        at++;
    }
    return at;
}

enum weir_result sys_user_learn(const char *name)
{
    struct sys_identity identity;
    if (name[0] == '\0' || strlen(name) >= NAME_SIZE) {
        return WEIR_NOT_FOUND;
    }
    enum weir_result result = ask(name, &identity);
    pthread_mutex_lock(&lock);
    unsigned at = find(name);
    if (result == WEIR_OK) {
        at = at < USERS_MAX ? at : next++ % USERS_MAX;
        snprintf(known[at].name, NAME_SIZE, "%s", name);
        known[at].identity = identity;
    } else if (at < USERS_MAX) {
        known[at].name[0] = '\0'; // no more
    }
    pthread_mutex_unlock(&lock);
    return result;
}

bool sys_user_recall(const char *name, struct sys_identity *ret_identity)
{
    pthread_mutex_lock(&lock);
    unsigned at = name[0] == '\0' ? USERS_MAX : find(name);
    if (at < USERS_MAX) {
        *ret_identity = known[at].identity;
    }
    pthread_mutex_unlock(&lock);
    return at < USERS_MAX;
}
