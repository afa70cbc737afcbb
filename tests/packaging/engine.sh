#!/usr/bin/env bash
# The image with Podman, after image.sh and on its images: a container of the user's Dockerfile as docs/howto/docker.md runs it, through
# docs/custom-plugin.md, then packaging/quickstart.sh from build to removal. Usage, as root, with python3-httpbin and gunicorn at hand:
#   tests/packaging/engine.sh
# Ports are published in a network of its own, so that those of the machine do not matter. No service manager runs the health check now and
# then: `podman healthcheck run` does what its timer would.
#   SB_BUILDAH  as in image.sh
set -eu
cd "$(dirname "$0")/../.."
store=${SB_BUILDAH:-/var/tmp/silverback-buildah}
page=$PWD/docs/custom-plugin.md
tmp=$(mktemp -d)
log=$tmp/node.log
. tests/packaging/walk.sh
httpbin=''
cleanup() {
    [ -z "$httpbin" ] || kill "$httpbin"
    podman rm -f -t 0 sb-test sb-quickstart > /dev/null 2>&1 || true
    podman volume rm -f sb-quickstart > /dev/null 2>&1 || true
    rm -rf "$tmp"
}
trap cleanup EXIT

# By variables, because quickstart.sh calls Podman itself.
cat > "$tmp/storage.conf" <<TEXT
[storage]
driver = "vfs"
graphroot = "$store/root"
runroot = "$store/run"
TEXT
# The limits that Podman gives containers may be beyond ours.
cat > "$tmp/containers.conf" <<TEXT
[containers]
default_ulimits = ["nofile=$(ulimit -Hn):$(ulimit -Hn)", "nproc=32768:32768"]
TEXT
export CONTAINERS_CONF=$tmp/containers.conf CONTAINERS_STORAGE_CONF=$tmp/storage.conf BUILDAH_ISOLATION=chroot DISABLE_HC_SYSTEMD=true ENGINE=podman

# httpbin CONTAINER: where the container says localhost:8080.
httpbin() {
    [ -z "$httpbin" ] || kill "$httpbin"
    nsenter --net -t "$(podman inspect -f '{{.State.Pid}}' "$1")" gunicorn -b 127.0.0.1:8080 --threads 4 httpbin:app > /dev/null 2>&1 &
    httpbin=$!
    wait_for 60 podman exec "$1" perl -MIO::Socket::INET -e 'IO::Socket::INET->new("127.0.0.1:8080") or exit 1'
}
logs() { podman logs "$1" > "$log" 2>&1; }

users_image() {
    step "the user's image, with published ports"
    podman run -d --name sb-test -p 8000:8000 -p 8443:8443 -p 127.0.0.1:8001:8001 -e KONG_ADMIN_LISTEN=0.0.0.0:8001 mine:latest > /dev/null
    wait_for 120 podman healthcheck run sb-test
    httpbin sb-test
    set_up
    check_request
    [ "$(podman exec sb-test id -un)" = kong ] || fail "the container does not run as kong"
    podman exec sb-test kong reload > /dev/null || fail "kong reload"
    check_request
    podman stop -t 60 sb-test > /dev/null
    logs sb-test
    [ "$(podman inspect -f '{{.State.ExitCode}}' sb-test)" = 0 ] || fail "stop: exit code $(podman inspect -f '{{.State.ExitCode}}' sb-test)"
    grep -q 'GET /mock/anything' "$log" || fail "the access log is not among the container's logs"
    podman start sb-test > /dev/null
    wait_for 120 podman healthcheck run sb-test
    httpbin sb-test
    check_request
    podman rm -f -t 60 sb-test > /dev/null
}

quickstart() {
    step "quickstart: from the clone to a node with a plugin"
    packaging/quickstart.sh -b -t test -a sb-quickstart -m my-plugin=examples/my-plugin/kong/plugins/my-plugin -e KONG_LOG_LEVEL=info > "$tmp/said" || fail "$(cat "$tmp/said")"
    grep -q '^  Admin API  http://localhost:8001$' "$tmp/said" || fail "$(cat "$tmp/said")"
    httpbin sb-quickstart
    set_up
    check_request
    ! packaging/quickstart.sh -t test -a sb-quickstart 2> /dev/null || fail "a second one of the same name"
    packaging/quickstart.sh -a sb-quickstart -d > /dev/null
    ! podman container exists sb-quickstart || fail "-d left the container"
    ! podman volume exists sb-quickstart || fail "-d left the volume"
    ! packaging/quickstart.sh -t test -a sb-quickstart -e KONG_LOG_LEVEL=loud > /dev/null 2> "$tmp/said" || fail "a node that cannot start counts as started"
    grep -q "log_level" "$tmp/said" || fail "$(cat "$tmp/said")"
}

if [ "${1:-}" = --run ]; then
    ip link set lo up
    # Some machines have both kinds of control groups, which crun takes for a mistake.
    ! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified
    users_image
    quickstart
    echo "engine: passed"
else
    # What needs the network; below, every step is found in the cache.
    podman build -q --format docker -f packaging/docker/Dockerfile -t silverback:test . > /dev/null
    rm -rf "$tmp"
    exec unshare --net --mount --propagation private -- bash "$0" --run
fi
