# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  certificate.c
  platform.c
  platform_mint.c
  platform_routes.c
  platform_validate.c
)
