// SPDX-License-Identifier: Apache-2.0
#ifndef WEIR_OBS_CRASH_H
#define WEIR_OBS_CRASH_H

// From here on a fatal signal (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT) writes the version, the
// signal, the newest log events of the thread and a backtrace to standard error, and then ends the
// process as it would have. A signal that has a handler already keeps it (a sanitizer's is better).
// Called once, before threads exist.
void crash_install(void);

#endif
