// SPDX-License-Identifier: Apache-2.0
// libyaml, loaded by those who read a file: yaml.parser_parse() is yaml_parser_parse().
#ifndef WEIR_CONF_LIBYAML_H
#define WEIR_CONF_LIBYAML_H

#include <stddef.h>
#include <yaml.h>

#include "base/result.h"

struct yaml_calls {
#define YAML_CALL(name) __typeof__(yaml_##name) *name;
#include "conf/libyaml_calls.def"
#undef YAML_CALL
};
// NULL pointers until it is loaded.
extern struct yaml_calls yaml;

// See sys_library_load.
enum weir_result libyaml_load(char *problem, size_t size) WEIR_MUST_CHECK;

#endif
