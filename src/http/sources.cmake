# SPDX-License-Identifier: Apache-2.0
set(SOURCES client.c server.c)
