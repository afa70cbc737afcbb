# The custom-plugin walk-through as a user would do it, for life.sh, image.sh and engine.sh: sourced, not run. The commands are those of
# docs/custom-plugin.md ($page), the plugin is examples/my-plugin. $log is where a node that fails says why, $tmp a folder for what is between.
page=${page:-/package/custom-plugin.md}
log=${log:-/usr/local/kong/logs/error.log}
tmp=${tmp:-/tmp}

fail() {
    echo "FAILED: $*" >&2
    tail -n 30 "$log" >&2 2> /dev/null || true
    exit 1
}
step() { echo "-- $*"; }

# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "waited for: $*"
        sleep 0.1
    done
}

# The page's curl commands, each on its line, in order.
commands() { sed -n '/^```sh/,/^```$/p' "$page" | grep '^curl'; }

plugin_files() { cp -r /usr/share/doc/silverback/examples/my-plugin/. "$1"; }

# A service, the plugin on it, a route.
set_up() {
    local line
    commands | sed -n 1,3p > "$tmp/setup"
    while read -r line; do
        bash -c "$line" 2> /dev/null | tr -d '\r' > "$tmp/answer"
        head -n 1 "$tmp/answer" | grep -q ' 201 ' || fail "$line: $(cat "$tmp/answer")"
    done < "$tmp/setup"
}

# A request through them all.
check_request() {
    bash -c "$(commands | sed -n 4p)" 2> /dev/null | tr -d '\r' > "$tmp/answer"
    head -n 1 "$tmp/answer" | grep -q ' 200 ' || fail "the request: $(cat "$tmp/answer")"
    grep -qi '^X-MyPlugin: http://localhost:8080/anything$' "$tmp/answer" || fail "the plugin's header: $(cat "$tmp/answer")"
}
