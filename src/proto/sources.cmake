# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  clienthello.c
  http1.c
  http1_body.c
  http1_skim.c
  json_scan.c
  json_value.c
  json_write.c
  noise.c
  prometheus.c
  proxy_header.c
  rstrm.c
  rstrm_check.c
  rstrm_forms.c
  websocket.c
  wide.c
)
