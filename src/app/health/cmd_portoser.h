// SPDX-License-Identifier: Apache-2.0
#ifndef WEIR_APP_CMD_PORTOSER_H
#define WEIR_APP_CMD_PORTOSER_H

#define PORTOSER_NAME "portoser"

// The words behind the program's name. Returns the exit code.
int cmd_portoser(int argc, char **argv);

#endif
