// SPDX-License-Identifier: Apache-2.0
// The platform as a part of a process, on worker 0. Beside a relay (`weir up`) it serves until the
// other parts have drained; alone it drains itself.
#ifndef WEIR_APP_PLATFORM_SERVER_H
#define WEIR_APP_PLATFORM_SERVER_H

#include "app/parts/process.h"
#include "app/platform_setup.h"
#include "platform/service.h"
#include "stream/listen_set.h"

struct platform_server {
    struct part part;
    struct platform_service service;
    struct platform_setup *setup; // borrowed
    struct sys_address address;
    struct listen_set listen;
    struct timer drained; // looks whether it is
    bool alone;
};

// Beside a relay, which has to know where, it listens at once, where the configuration says; false
// after saying on standard error why it cannot. Alone it listens when the process opens it. server is
// zeroed before. The process owns the socket from process_run on.
bool platform_server_init(struct platform_server *server, struct platform_setup *setup, bool alone);

#endif
