// SPDX-License-Identifier: Apache-2.0
// Input: an X-Forwarded-For value, as a trusted proxy passes it on. What must hold: who is not a
// trusted proxy cannot choose its address, by whatever it puts in front.
#include <stdint.h>
#include <stdlib.h>

#include "proto/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ip_network network_of(struct slice text)
{
    struct ip_network network;
    weir_assert(ip_network_parse(text, &network) == WEIR_OK);
    return network;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ip_network trusted[] = {network_of(SLICE("10.0.0.0/8")), network_of(SLICE("fd00::/8"))};
    struct ip proxy = trusted[0].base;
    struct ip stranger = network_of(SLICE("192.0.2.1")).base;
    struct slice list = slice_of((const char *)data, size);

    struct ip client = proxy_client_ip(&stranger, list, trusted, 2);
    weir_assert(ip_eq(&client, &stranger));
    client = proxy_client_ip(&proxy, list, trusted, 0);
    weir_assert(ip_eq(&client, &proxy));

    client = proxy_client_ip(&proxy, list, trusted, 2);
    if (ip_in_any(trusted, 2, &client)) {
        return 0;
    }
    struct slice forged = SLICE("198.51.100.7, ");
    char *text = malloc(forged.len + size);
    weir_assert(text != NULL);
    memcpy(text, forged.at, forged.len);
    memcpy(text + forged.len, data, size);
    struct ip again = proxy_client_ip(&proxy, slice_of(text, forged.len + size), trusted, 2);
    weir_assert(ip_eq(&again, &client));
    free(text);
    return 0;
}
