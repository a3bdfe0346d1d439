# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  auth_key.c
  auth_key_sign.c
  jwks.c
  jws.c
  jwt_precheck.c
  mint.c
)
