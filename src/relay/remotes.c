// SPDX-License-Identifier: Apache-2.0
#include "relay/remotes.h"

#include "base/list.h"
#include "base/mem.h"

static struct remote *make(struct map *remotes, struct slice id)
{
    struct remote *remote = mem_zalloc(sizeof *remote + id.len);
    if (remote == NULL) {
        return NULL;
    }
    remote->map = remotes;
    remote->id_len = id.len;
    memcpy(remote->id, id.at, id.len);
    if (map_insert(remotes, &remote->node, remote_id(remote)) != WEIR_OK) {
        mem_free(remote);
        return NULL;
    }
    return remote;
}

bool remote_id_is_sound(struct slice id)
{
    for (size_t i = 0; i < id.len; i++) {
        unsigned char c = (unsigned char)id.at[i];
        if (c < ' ' || c == 0x7f) {
            return false;
        }
    }
    return id.len > 0 && id.len <= REMOTE_ID_LEN_MAX;
}

struct remote *remote_ref(struct map *remotes, struct slice id, uint16_t route)
{
    weir_assert(id.len <= REMOTE_ID_LEN_MAX);
    struct map_node *node = map_find(remotes, id);
    struct remote *remote =
        node == NULL ? make(remotes, id) : container_of(node, struct remote, node);
    if (remote != NULL) {
        remote->refs++;
        remote->route = route;
    }
    return remote;
}

void remote_unref(struct remote *remote)
{
    if (remote != NULL && --remote->refs == 0) {
        map_remove(remote->map, &remote->node);
        mem_free(remote);
    }
}
