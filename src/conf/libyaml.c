// SPDX-License-Identifier: Apache-2.0
#include "conf/libyaml.h"

#include "sys/library.h"

struct yaml_calls yaml;

static const char *const names[] = {
#define YAML_CALL(name) "yaml_" #name,
#include "conf/libyaml_calls.def"
#undef YAML_CALL
};

static const struct sys_library library = {
    .file = "libyaml-0.so.2",
    .package = "libyaml-0-2",
    .names = names,
    .count = sizeof names / sizeof names[0],
    .functions = &yaml,
};

enum weir_result libyaml_load(char *problem, size_t size)
{
    return sys_library_load(&library, problem, size);
}
