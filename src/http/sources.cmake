# SPDX-License-Identifier: Apache-2.0
set(SOURCES assets.c client.c server.c)
