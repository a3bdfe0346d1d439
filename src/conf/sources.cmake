# SPDX-License-Identifier: Apache-2.0
set(SOURCES compare.c conf.c conf_file.c conf_section.c environ.c libyaml.c manual.c nearest.c print.c problems.c url.c yaml.c yaml_values.c)
