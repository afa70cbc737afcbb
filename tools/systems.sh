# Minimal systems of Debian releases, in folders, and commands in them; sourced by tools/test-package and tools/test-release. Needs root and
# debootstrap.
#   SB_CHROOTS  where the systems are kept between runs (default /var/tmp/silverback-chroots)
root=${SB_CHROOTS:-/var/tmp/silverback-chroots}

# in_system DIR COMMAND...: with processes of its own, which end with it, and without the caller's environment. OFFLINE=1: also with a network
# of its own, which is a loopback interface and nothing else.
in_system() {
    local dir=$1
    shift
    unshare ${OFFLINE:+--net} --mount --propagation private --pid --fork --kill-child -- bash -c '
        dir=$1; shift
        mount --bind "$dir" "$dir" # a mount of its own, as a root is: commands that make a namespace of mounts want one
        for m in sys dev; do mount --rbind /$m "$dir/$m"; done
        mount -t proc proc "$dir/proc"
        [ -z "${OFFLINE:-}" ] || ip link set lo up
        exec chroot "$dir" env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
            DEBIAN_FRONTEND=noninteractive "$@"' - "$dir" "$@"
}

# base_system RELEASE: $root/RELEASE.base, made once.
base_system() {
    local base=$root/$1.base
    [ -e "$base/.complete" ] && return
    mkdir -p "$root"
    rm -rf "$base"
    debootstrap --variant=minbase --include=ca-certificates "$1" "$base" > "$base.log" 2>&1 || { tail "$base.log"; exit 1; }
    # How this machine reaches its mirror, and no server that starts by itself.
    cp -L /etc/resolv.conf "$base/etc/resolv.conf"
    cp -r /etc/apt/apt.conf.d/. "$base/etc/apt/apt.conf.d/"
    rm -f "$base"/etc/apt/apt.conf.d/*docker* "$base"/etc/apt/apt.conf.d/*packagekit*
    printf '127.0.0.1 localhost\n' > "$base/etc/hosts"
    printf '#!/bin/sh\nexit 101\n' > "$base/usr/sbin/policy-rc.d"
    chmod 755 "$base/usr/sbin/policy-rc.d"
    in_system "$base" apt-get -qq update
    touch "$base/.complete"
}

need_root() { [ "$(id -u)" = 0 ] || { echo "$0: debootstrap and chroot need root" >&2; exit 1; }; }
