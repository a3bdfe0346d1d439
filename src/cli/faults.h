// SPDX-License-Identifier: Apache-2.0
// In builds with fault injection a test chooses by WEIR_FAIL_ALLOCATION and WEIR_FAIL_SYSCALL which
// allocation or system call fails. In a release both functions do nothing.
#ifndef WEIR_CLI_FAULTS_H
#define WEIR_CLI_FAULTS_H

void faults_arm(void);
// Lets a test know how far its numbers reach.
void faults_report(void);

#endif
