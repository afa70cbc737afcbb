#!/usr/bin/env bash
# A package's life, in a fresh system: see tools/test-package, which calls this inside a chroot with the package in /package/out. Each step fails
# the run with what it saw.
set -eu
. /package/packaging/walk.sh
deb=$(ls /package/out/silverback_*.deb)
prefix=/usr/local/kong
unit=/$(dpkg-deb --fsys-tarfile "$deb" | tar -tf - | sed -n 's#^\./\(.*system/silverback.service\)$#\1#p')

# What needs the network; the rest runs on a loopback of its own, so that ports of the machine do not matter.
if [ "${1:-}" != installed ]; then
    step "install"
    apt-get -qq update > /tmp/install.log 2>&1 || fail "$(tail -n 20 /tmp/install.log)"
    apt-get -qq install -y --no-install-recommends "$deb" > /tmp/install.log 2>&1 || fail "$(tail -n 20 /tmp/install.log)"
    apt-get -qq install -y --no-install-recommends curl python3-httpbin gunicorn luarocks logrotate procps iproute2 systemd man-db \
        >> /tmp/install.log 2>&1 || fail "$(tail -n 20 /tmp/install.log)"
    exec unshare --net -- bash "$0" installed
fi
ip link set lo up

# A directive of the unit; several lines of it are joined.
unit_value() { sed -n "s/^$1=//p" "$unit" | xargs; }
start_unit() { /usr/bin/python3 /package/packaging/unit.py "$(unit_value User)" "$(unit_value Environment)" "$(unit_value ExecStart)" || fail "ExecStart"; }
as_kong() { setpriv --reuid kong --regid kong --clear-groups env HOME=$prefix "$@"; }
gone() { [ -z "$(pgrep -u kong || true)" ]; }
stop_unit() {
    kill -s "$(unit_value KillSignal | sed 's/^SIG//')" "$(cat /tmp/unit.pid)"
    wait_for 30 gone
}

step "what is installed"
[ "$(stat -c %U $prefix)" = kong ] || fail "$prefix is not kong's"
[ "$(id -u kong)" -lt 1000 ] || fail "kong is no system user"
for file in /etc/kong/kong.conf /etc/kong/kong.conf.default /etc/logrotate.d/silverback /etc/default/silverback; do
    dpkg-query -W -f '${Conffiles}\n' silverback | grep -q " $file " || fail "$file is no conffile"
done
man -w silverback kong > /dev/null || fail "no man page"
kong check > /tmp/check || fail "kong check"
grep -q 'configuration at /etc/kong/kong.conf is valid' /tmp/check || fail "$(cat /tmp/check)"
sed 's/^#\([a-z]\)/\1/' /etc/kong/kong.conf.default > /tmp/all-defaults.conf
for file in /etc/kong/kong.conf.default /tmp/all-defaults.conf; do
    kong check $file > /dev/null 2> /tmp/check || fail "kong check $file: $(cat /tmp/check)"
done
systemd-analyze verify "$unit" > /tmp/verify 2>&1 || true
! grep silverback /tmp/verify || fail "the unit"

step "a plugin by package path, in the settings file"
mkdir -p /opt/kong-plugins
plugin_files /opt/kong-plugins
printf 'plugins = bundled,my-plugin\nlua_package_path = /opt/kong-plugins/?.lua;;\n' >> /etc/kong/kong.conf
setpriv --reuid nobody --regid nogroup --clear-groups gunicorn -b 127.0.0.1:8080 --threads 4 httpbin:app > /tmp/httpbin.log 2>&1 &
wait_for 60 curl -fs http://localhost:8080/get
start_unit
set_up
check_request
[ -z "$(pgrep -u root nginx || true)" ] || fail "nginx runs as root"
as_kong kong health > /dev/null || fail "kong health"

step "reload, and log rotation without one"
as_kong $(unit_value ExecReload) > /tmp/reload 2>&1 || fail "ExecReload: $(cat /tmp/reload)"
check_request
curl -s http://localhost:8000/before-rotation > /dev/null
wait_for 10 grep -q before-rotation $prefix/logs/access.log
logrotate --force /etc/logrotate.d/silverback || fail "logrotate"
grep -q before-rotation $prefix/logs/access.log.1 || fail "nothing was rotated"
wait_for 10 sh -c "curl -s http://localhost:8000/after-rotation; grep -q after-rotation $prefix/logs/access.log"
! grep -q before-rotation $prefix/logs/access.log || fail "the new log has old lines"

step "upgrade keeps settings and record"
dpkg-deb -R "$deb" /tmp/tree
sed -i 's/^Version: .*/&+next/' /tmp/tree/DEBIAN/control
dpkg-deb --root-owner-group -b /tmp/tree /tmp/next.deb > /dev/null
dpkg -i /tmp/next.deb > /tmp/upgrade.log 2>&1 || fail "$(cat /tmp/upgrade.log)"
grep -q '^plugins = bundled,my-plugin' /etc/kong/kong.conf || fail "the settings file was replaced"
check_request # the old code serves until the unit's manager restarts it
stop_unit
start_unit
check_request

step "the same plugin as a rock, for every user"
stop_unit
rm -r /opt/kong-plugins
printf 'plugins = bundled,my-plugin\n' > /etc/kong/kong.conf
mkdir /tmp/rock
plugin_files /tmp/rock
(cd /tmp/rock && luarocks --lua-version 5.1 make > /tmp/rock.log 2>&1) || fail "$(cat /tmp/rock.log)"
start_unit
check_request

step "and copied to where images have it"
stop_unit
luarocks --lua-version 5.1 remove my-plugin > /tmp/rock.log 2>&1 || fail "$(cat /tmp/rock.log)"
mkdir -p /usr/local/share/lua/5.1/kong/plugins
cp -r /tmp/rock/kong/plugins/my-plugin /usr/local/share/lua/5.1/kong/plugins/
start_unit
check_request
stop_unit

step "remove keeps what is yours, purge does not"
apt-get -qq remove -y silverback > /tmp/remove.log 2>&1 || fail "$(cat /tmp/remove.log)"
[ -e $prefix/store ] && [ -e /etc/kong/kong.conf ] || fail "remove took record or settings"
[ ! -e /usr/bin/kong ] && [ ! -e /usr/share/silverback ] || fail "remove left files"
apt-get -qq purge -y silverback > /tmp/remove.log 2>&1 || fail "$(cat /tmp/remove.log)"
for path in $prefix /etc/kong /etc/logrotate.d/silverback /etc/default/silverback; do
    [ ! -e $path ] || fail "purge left $path"
done
! getent passwd kong > /dev/null || fail "purge left the user"
