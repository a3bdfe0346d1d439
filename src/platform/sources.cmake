# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  ask.c bus.c certificate.c config.c errand.c platform.c platform_keys.c platform_metrics.c
  platform_mint.c platform_routes.c platform_tokens.c platform_validate.c service.c service_keys.c service_routes.c
  store.c store/pg_link.c store/postgres.c store/sqlite.c)
