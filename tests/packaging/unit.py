"""The part of systemd that counts in tests/packaging: starts ExecStart with the unit's user and environment, in the background, and returns
once it has said READY=1 on NOTIFY_SOCKET. `unit.py USER ENVIRONMENT COMMAND`; the process number goes to /tmp/unit.pid."""
import os
import pwd
import socket
import subprocess
import sys

SOCKET, LOG = "/tmp/notify", "/tmp/unit.log"


def environment(user, words):
    env = {"PATH": os.environ["PATH"], "HOME": user.pw_dir, "NOTIFY_SOCKET": SOCKET}
    with open("/etc/default/silverback") as f:
        lines = [line.strip() for line in f if "=" in line and not line.startswith("#")]
    for setting in words.split() + lines:
        name, _, value = setting.partition("=")
        env[name] = value
    return env


def main(name, words, command):
    user = pwd.getpwnam(name)
    if os.path.exists(SOCKET):
        os.unlink(SOCKET)
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(SOCKET)
    os.chmod(SOCKET, 0o777)
    manager.settimeout(120)
    log = open(LOG, "ab")
    process = subprocess.Popen(command.split(), env=environment(user, words), cwd="/", user=user.pw_uid, group=user.pw_gid,
                               extra_groups=[], start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        told = manager.recv(100)
    except TimeoutError:
        process.kill()
        told = b"nothing"
    if told != b"READY=1":
        sys.exit(f"{command} said {told!r}, not READY=1:\n" + open(LOG).read())
    with open("/tmp/unit.pid", "w") as f:
        f.write(str(process.pid))


main(*sys.argv[1:])
