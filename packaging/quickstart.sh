#!/usr/bin/env bash
# Starts a node in a container: an image and tag of your choice, or one built from this clone. `quickstart.sh -h` lists the options.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: quickstart.sh [OPTIONS]

  -r REPOSITORY   registry or namespace in front of the image's name, as in REPOSITORY/IMAGE:TAG
  -i IMAGE        the image (default silverback)
  -t TAG          its tag (default latest)
  -b              build the image from this clone first, under that name and tag
  -a NAME         name of the container, and of its volume (default silverback-quickstart)
  -m NAME=DIR     a plugin: the folder with its handler.lua and schema.lua is mounted and the plugin enabled; may be repeated
  -e NAME=VALUE   a variable for the node, such as KONG_LOG_LEVEL=debug; may be repeated
  -p PORT         the proxy's port (default 8000); PORT+1 is the Admin API's, on the loopback interface only
  -d              remove the container and its volume, with all configuration, and end
  -h              this text

ENGINE=podman (or docker, the default where it is) chooses what runs the container.
TEXT
}

die() { echo "quickstart: $*" >&2; exit 1; }

engine() {
    local e
    if [ -n "${ENGINE:-}" ]; then
        command -v "$ENGINE" > /dev/null || die "ENGINE=$ENGINE is not installed"
        return
    fi
    for e in docker podman; do
        if command -v $e > /dev/null && $e info > /dev/null 2>&1; then
            ENGINE=$e
            return
        fi
    done
    die "neither docker nor podman runs here"
}

repository='' image=silverback tag=latest build=false name=silverback-quickstart port=8000 destroy=false
plugins=bundled
args=()
while getopts 'r:i:t:ba:m:e:p:dh' option; do
    case $option in
        r) repository=${OPTARG%/}/ ;;
        i) image=$OPTARG ;;
        t) tag=$OPTARG ;;
        b) build=true ;;
        a) name=$OPTARG ;;
        m)
            plugin=${OPTARG%%=*} folder=${OPTARG#*=}
            { [ "$plugin" != "$OPTARG" ] && [ -f "$folder/handler.lua" ]; } || die "-m $OPTARG: must be NAME=DIR with a handler.lua in DIR"
            plugins=$plugins,$plugin
            args+=(-v "$(cd "$folder" && pwd):/usr/local/share/lua/5.1/kong/plugins/$plugin:ro")
            ;;
        e)
            [[ $OPTARG == *=* ]] || die "-e $OPTARG: must be NAME=VALUE"
            args+=(-e "$OPTARG")
            ;;
        p)
            [[ $OPTARG =~ ^[0-9]+$ && $OPTARG -gt 0 && $OPTARG -lt 65535 ]] || die "-p $OPTARG: must be a port between 1 and 65534"
            port=$OPTARG
            ;;
        d) destroy=true ;;
        h)
            usage
            exit 0
            ;;
        *)
            usage >&2
            exit 1
            ;;
    esac
done
shift $((OPTIND - 1))
[ $# -eq 0 ] || die "unexpected argument '$1'"
engine

if $destroy; then
    $ENGINE rm -f "$name" > /dev/null 2>&1 || true
    $ENGINE volume rm -f "$name" > /dev/null 2>&1 || true
    echo "$name is gone"
    exit 0
fi

reference=$repository$image:$tag
if $build; then
    clone=$(cd "$(dirname "$0")/.." && pwd)
    format=()
    [ "${ENGINE##*/}" != podman ] || format=(--format docker) # its own has no health check
    $ENGINE build ${format[@]+"${format[@]}"} -f "$clone/packaging/docker/Dockerfile" -t "$reference" "$clone"
fi
! $ENGINE container inspect "$name" > /dev/null 2>&1 || die "a container '$name' is there already; remove it with -d, or choose a name with -a"

$ENGINE run -d --name "$name" -v "$name:/usr/local/kong/store" -e KONG_PLUGINS="$plugins" -e KONG_ADMIN_LISTEN=0.0.0.0:8001 \
    -p "$port:8000" -p "127.0.0.1:$((port + 1)):8001" ${args[@]+"${args[@]}"} "$reference" > /dev/null

for _ in $(seq 120); do
    if $ENGINE exec "$name" kong health > /dev/null 2>&1; then
        cat <<TEXT
$reference runs as $name.
  Proxy      http://localhost:$port
  Admin API  http://localhost:$((port + 1))
  Logs       $ENGINE logs -f $name
  Remove     $0 -a $name -d
TEXT
        exit 0
    fi
    [ "$($ENGINE container inspect -f '{{.State.Running}}' "$name" 2> /dev/null)" = true ] || break
    sleep 1
done
$ENGINE logs "$name" >&2 || true
die "$name did not become healthy; its log is above"
