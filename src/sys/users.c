// SPDX-License-Identifier: Apache-2.0
#include "sys/users.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/slice.h"

#define USERS_MAX 32 // remembered; the oldest goes first
#define NAME_SIZE 256
#define ENTRY_SIZE 16384
#define PATH_SIZE 4096

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
    if (strlen(user->pw_dir) < sizeof ret_identity->home) {
        strcpy(ret_identity->home, user->pw_dir);
    }
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

enum weir_result sys_user_own_name(char *name, size_t size)
{
    char bytes[ENTRY_SIZE];
    struct passwd entry;
    struct passwd *user = NULL;
    (void)getpwuid_r(geteuid(), &entry, bytes, sizeof bytes, &user); // user says it all
    if (user == NULL) {
        return WEIR_NOT_FOUND;
    }
    return slice_to_text(slice_str(user->pw_name), name, size) ? WEIR_OK : WEIR_TOO_LARGE;
}

bool sys_user_is_root(void)
{
    return geteuid() == 0;
}

static bool is_of_group(const struct sys_identity *who, gid_t gid)
{
    bool is = who->gid == gid;
    for (int i = 0; i < who->group_count && !is; i++) {
        is = who->groups[i] == gid;
    }
    return is;
}

// right: as it is written for others, S_IXOTH or S_IROTH.
static bool may(const struct sys_identity *who, const char *path, mode_t right)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return false;
    }
    unsigned shift = st.st_uid == who->uid ? 6 : is_of_group(who, st.st_gid) ? 3 : 0;
    return who->uid == 0 || (st.st_mode & (right << shift)) != 0;
}

bool sys_user_gets_to(const struct sys_identity *who, const char *path)
{
    char partial[PATH_SIZE];
    bool gets = slice_to_text(slice_str(path), partial, sizeof partial);
    for (char *slash = gets ? strchr(partial + 1, '/') : NULL; gets && slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        gets = may(who, partial, S_IXOTH);
        *slash = '/';
    }
    return gets;
}

bool sys_user_reads(const struct sys_identity *who, const char *path)
{
    return sys_user_gets_to(who, path) && may(who, path, S_IROTH);
}
