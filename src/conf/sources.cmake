# SPDX-License-Identifier: Apache-2.0
set(SOURCES conf.c environ.c manual.c nearest.c problems.c url.c yaml.c yaml_values.c)
