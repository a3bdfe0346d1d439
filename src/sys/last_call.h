// SPDX-License-Identifier: Apache-2.0
// How a listening socket ends without hurting anybody. What waits in its queue when it is closed is
// reset by the kernel, and so is a handshake under way; so first the door is shut, those in the
// door come in, and then it is closed.
#ifndef WEIR_SYS_LAST_CALL_H
#define WEIR_SYS_LAST_CALL_H

#include <stdbool.h>

#include "base/result.h"

// No new handshake begins at this listening socket: the kernel drops the first packet, without an
// answer, and who sent it tries again after a second (RFC 6298), when another socket may listen
// there. Handshakes under way go on. For sockets that nobody else holds: it cannot be taken back.
enum weir_result sys_end_handshakes(int fd) WEIR_MUST_CHECK;
// Whether clients are between their first packet and the queue of any socket that listens on the
// same port as this one; also true when the kernel does not tell.
bool sys_has_handshakes(int fd);

#endif
