# SPDX-License-Identifier: Apache-2.0
set(SOURCES postgres.c sqlite.c)
