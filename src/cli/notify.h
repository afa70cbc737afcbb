/* Telling a service manager how the node is, in systemd's protocol. */
#ifndef SB_CLI_NOTIFY_H
#define SB_CLI_NOTIFY_H

/* Sends one state, such as "READY=1", to the socket that the environment variable NOTIFY_SOCKET names. Does nothing when there is none, and
 * lets the node live when the manager does not listen. */
void sb_notify(const char *state);

#endif
