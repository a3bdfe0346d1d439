// SPDX-License-Identifier: Apache-2.0
// A person's registry.yml, read into one model (spec section 1): machines, services, and for every
// service the check it asks for in whichever of the six forms. weir never writes the file.
//
// A mistake in a service does not lose the others: it is noted with file, line and path, the
// service keeps its first one as `problem`, and is not checked. A registry is immutable once read.
#ifndef WEIR_HEALTH_REGISTRY_H
#define WEIR_HEALTH_REGISTRY_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/result.h"
#include "base/slice.h"
#include "conf/conf.h"
#include "health/registry/check_spec.h"

#define REGISTRY_BYTES_MAX                                                                         \
    (64 * 1024 * 1024) // of the model; the file is bounded by the YAML reader
#define REGISTRY_NOTES_MAX 4096
#define REGISTRY_UNKNOWN_MACHINE "unknown"

struct maintenance {
    bool on;
    uint64_t until_wall_ms; // 0: until somebody ends it
    const char *reason;     // NULL: none given
};

struct machine {
    const char *name;
    const char *address;  // `ip`, else `host`; NULL: none known
    const char *ssh_host; // what ssh connects to; NULL: none known
    const char *ssh_user; // NULL: ssh's own choice
    const char *ssh_key;  // NULL: ssh's own choice
    const char *base;     // `path`, where relative files of services are; NULL: none
    const char *status;   // as written, lower case; "unknown" when not given
    const char *const *roles;
    size_t role_count;
    uint16_t ssh_port;
    bool local;    // this machine is it
    bool declared; // stands under hosts or machines; not only named by a service
    bool maintenance;
    bool disabled;
};

struct service {
    const char *name;
    const struct machine *machine; // never NULL
    const char *deployment_type;
    const char *hostname;
    const char *description; // NULL: none
    const char *docker_compose;
    const char *service_file;
    const char *service_name;
    const char *const *dependencies;
    size_t dependency_count;
    const struct service **depends_on; // the services of these names; NULL: there is none
    uint16_t port; // 0: none known
    bool tls;
    bool disabled; // by `enabled: false`, or its machine's status: not checked and not counted
    bool declared; // some form declares a check, or says that there is none
    struct maintenance maintenance;
    const char *problem; // the first mistake; NULL: none. With a problem nothing is checked
    const char *form;    // which key declared the check: "health_check"; NULL: none
    struct check_spec check;
    uint64_t identity; // equal for two services that check the same thing the same way
    unsigned line;     // of its key
};

// The service is to be checked.
static inline bool service_monitored(const struct service *service)
{
    return service->problem == NULL && !service->disabled && service->check.type != CHECK_NONE &&
           service->check.enabled;
}

enum note_level { NOTE_ERROR, NOTE_WARNING, NOTE_INFO };
#define NOTE_LEVEL_COUNT 3

struct registry_note {
    const char *file;
    const char *path; // "services.web.health_check.url"; "" for the file as a whole
    const char *message;
    unsigned line; // 0: none
    enum note_level level;
};

#define REGISTRY_NOTICE_MAX 500

struct registry {
    struct arena arena;
    const char *path;
    const char *domain;
    const char *notice; // for whoever looks at the page; NULL: none
    struct machine *machines;
    size_t machine_count;
    size_t machines_declared;
    struct service *services; // in the order of the file
    size_t service_count;
    const struct registry_note **notes;   // in the order of the lines, the registry's own first
    size_t note_count;                    // of those kept: REGISTRY_NOTES_MAX at most
    size_t note_counts[NOTE_LEVEL_COUNT]; // of all
    unsigned refs;
    bool broken; // the file as a whole cannot be used: not there, no YAML, no map
};

struct registry_options {
    const struct conf_source *environment; // for ${NAME} and the like
    bool implicit_checks;       // a service without a check but with a port gets a tcp check
    bool legacy_compose_health; // healthcheck.test of a compose file is run
    bool url_overrides;         // NAME_URL replaces a URL: one-shot use only
};

// Reads the file. WEIR_OK also with mistakes: see notes, and `broken`. WEIR_AGAIN: somebody writes
// it right now (holds a lock on it). WEIR_MEMORY. The registry wants registry_unref in every case.
enum weir_result registry_load(const char *path, const struct registry_options *options,
    struct registry **ret_registry) WEIR_MUST_CHECK;
// The same from text; `path` names it in messages and gives the directory of relative files.
enum weir_result registry_parse(struct slice text, const char *path,
    const struct registry_options *options, struct registry **ret_registry) WEIR_MUST_CHECK;
// Registries are shared on one thread: made with one reference, freed with the last. NULL is fine.
void registry_ref(struct registry *registry);
void registry_unref(struct registry *registry);

// "registry.yml:12: services.web.health_check.url: message", one line each of these levels and
// graver ones.
void registry_print_notes(const struct registry *registry, enum note_level level, struct buf *out);
const char *note_level_name(enum note_level level);

// The registry in canonical form: the same YAML, every check as form A with all its keys. Reading
// it gives the same model.
void registry_show(const struct registry *registry, struct buf *out);

// The keys of a health check as Markdown.
void registry_manual(struct buf *out);

#endif
