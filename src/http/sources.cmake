# SPDX-License-Identifier: Apache-2.0
set(SOURCES assets.c client.c gzip.c server.c)
