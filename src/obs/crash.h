// SPDX-License-Identifier: Apache-2.0
#ifndef WEIR_OBS_CRASH_H
#define WEIR_OBS_CRASH_H

// From here on a fatal signal (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT) writes version, signal and
// a backtrace to standard error before it ends the process as it would have. Sanitizer builds keep
// their own handlers: there it does nothing.
void crash_install(void);

#endif
