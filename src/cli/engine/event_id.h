// SPDX-License-Identifier: Apache-2.0
// Ids that the command line gives (spec engine, section 9.2): a prefix and 24 hexadecimal digits of
// the kernel's random numbers.
#ifndef WEIR_CLI_EVENT_ID_H
#define WEIR_CLI_EVENT_ID_H

#define EVENT_ID_SIZE 64

void event_id_make(const char *prefix, char id[EVENT_ID_SIZE]);

#endif
