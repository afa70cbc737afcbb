#!/bin/sh
# The image's entry: takes settings from files, then becomes the command. KONG_PG_PASSWORD_FILE=/run/secrets/pw sets KONG_PG_PASSWORD to
# what is in the file, and so for every setting. Names that end in _file themselves are left alone: resolver_hosts_file, and some of the
# injected nginx directives (KONG_NGINX_…).
set -eu

for name in $(env | sed -n 's/^\(KONG_[A-Z0-9_]*\)_FILE=.*/\1/p'); do
    case $name in KONG_NGINX_* | KONG_RESOLVER_HOSTS) continue ;; esac
    eval "file=\${${name}_FILE:-} already=\${$name:+yes}"
    [ -n "$file" ] || continue
    if [ -n "$already" ]; then
        echo "Error: both $name and ${name}_FILE are set; one is enough" >&2
        exit 1
    fi
    if ! value=$(cat "$file"); then
        echo "Error: ${name}_FILE: $file cannot be read" >&2
        exit 1
    fi
    export "$name=$value"
    unset "${name}_FILE"
done
exec "$@"
