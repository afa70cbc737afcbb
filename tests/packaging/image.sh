#!/usr/bin/env bash
# The image, where no container engine runs: builds packaging/docker/Dockerfile and the Dockerfile of docs/howto/docker.md on top of it with
# buildah (chroot isolation) over a system that debootstrap made, then runs the result with its own user, entry and command and goes through
# docs/custom-plugin.md. Usage, as root, with python3-httpbin and gunicorn at hand:
#   tests/packaging/image.sh BASE        BASE: a folder with a minimal Debian, such as $SB_CHROOTS/bookworm.base of tools/test-package
# What this does not show is what an engine adds: namespaces, published ports, the health check. engine.sh does, on the images made here.
#   SB_BUILDAH  where images and containers are kept (default /var/tmp/silverback-buildah)
set -eu
cd "$(dirname "$0")/../.."
store=${SB_BUILDAH:-/var/tmp/silverback-buildah}
page=$PWD/docs/custom-plugin.md
tmp=$(mktemp -d)
log=$tmp/node.log
. tests/packaging/walk.sh
trap 'rm -rf "$tmp"' EXIT

b() { buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs "$@"; }
# However the run ends: the node, which is not our child, the server behind it, the container, the files.
finish() {
    trap - EXIT
    if [ -n "$container" ]; then
        node=${node:-$(in_container cat /usr/local/kong/pids/nginx.pid 2> /dev/null || true)}
        [ -z "$node" ] || kill -TERM "$node" 2> /dev/null || true
        for _ in $(seq 100); do
            [ -n "$node" ] && kill -0 "$node" 2> /dev/null || break
            sleep 0.1
        done
        b rm "$container" > /dev/null || true
    fi
    kill "$httpbin" 2> /dev/null || true
    rm -rf "$tmp"
}
in_container() { b run --isolation chroot "$container" -- "$@"; }

build() {
    local base
    base=$(b from scratch)
    cp -a "$1/." "$(b mount "$base")/"
    b umount "$base" > /dev/null
    b commit -q --rm "$base" localhost/debian:12-slim > /dev/null
    mkdir "$tmp/context" "$tmp/mine"
    git archive HEAD | tar -xf - -C "$tmp/context"
    b bud --isolation chroot --format docker --build-arg BASE=localhost/debian:12-slim -f packaging/docker/Dockerfile -t silverback:latest "$tmp/context"
    cp -r examples/my-plugin/kong/plugins/my-plugin "$tmp/mine/"
    sed -n '/^```dockerfile/,/^```$/p' docs/howto/docker.md | sed '1d;$d' > "$tmp/mine/Dockerfile"
    b bud --isolation chroot --format docker -t mine:latest "$tmp/mine"
}

entry() { # what /entrypoint.sh makes of files
    in_container sh -c 'printf debug > /tmp/level; KONG_LOG_LEVEL_FILE=/tmp/level /entrypoint.sh env' | grep -qx KONG_LOG_LEVEL=debug || fail "a setting from a file"
    ! in_container sh -c 'KONG_LOG_LEVEL=x KONG_LOG_LEVEL_FILE=/tmp/level /entrypoint.sh true' 2> /dev/null || fail "a setting given twice is accepted"
    ! in_container sh -c 'KONG_LOG_LEVEL_FILE=/none /entrypoint.sh true' 2> /dev/null || fail "a file that is not there is accepted"
}

run() { # on a loopback of its own; we are the first process of a namespace, so nothing that is left outlives us
    container= node=
    trap 'exit 130' INT TERM
    ip link set lo up
    gunicorn -b 127.0.0.1:8080 --threads 4 httpbin:app > /dev/null 2>&1 &
    httpbin=$!
    trap finish EXIT
    container=$(b from localhost/mine:latest)
    entry
    # An engine gives the standard streams to the container's user; buildah does not: a file of the user's takes their place.
    log=$(b mount "$container")/tmp/node.log
    in_container sh -c 'exec /entrypoint.sh kong docker-start > /tmp/node.log 2>&1' &
    running=$!
    wait_for 120 curl -fs http://localhost:8001/
    wait_for 60 curl -fs http://localhost:8080/get
    node=$(in_container sh -c 'cat /usr/local/kong/pids/nginx.pid')
    [ "$(ps -o uid= -p "$node" | tr -d ' ')" = 1000 ] || fail "the node does not run as kong"
    in_container kong health || fail "kong health"
    set_up
    check_request
    in_container kong reload || fail "kong reload"
    check_request
    grep -q 'GET /mock/anything' "$log" || fail "the access log is not on standard output"
    kill -QUIT "$node"
    wait "$running" || fail "the end: exit code $?"
    echo "image: passed"
}

if [ "${1:-}" = --run ]; then
    run
else
    build "$1"
    rm -rf "$tmp"
    exec unshare --net --pid --fork --kill-child --mount-proc -- bash "$0" --run
fi
