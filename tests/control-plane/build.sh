#!/bin/sh
# Builds what tests need for a real control plane into .cache/control-plane/:
#   control-plane  etcd, kube-apiserver, kube-controller-manager and kube-scheduler in one program
#   kwok           makes pods ready without running them
# Needs Go. The first build takes about ten minutes on two cores; when all is up to date it takes no time.
set -eu

kwok_version=v0.7.0

here=$(cd "$(dirname "$0")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache/control-plane
mkdir -p "$cache"
export CGO_ENABLED=0

# Up to date means: newer than every file it is made from.
newer() {
    [ -x "$1" ] || return 1
    target=$1
    shift
    for source in "$@"; do
        [ "$source" -nt "$target" ] && return 1
    done
    return 0
}

need_go() {
    command -v go >/dev/null || {
        echo "go is needed to build $1: install Go from your system's packages" >&2
        exit 1
    }
}

if ! newer "$cache/control-plane" "$here/main.go" "$here/go.mod" "$here/go.sum"; then
    need_go control-plane
    echo "building control-plane (the first time takes about ten minutes)"
    (cd "$here" && go build -trimpath -ldflags '-s -w' -o "$cache/control-plane.new" .)
    mv "$cache/control-plane.new" "$cache/control-plane"
fi

if [ ! -x "$cache/kwok" ] || { [ -e "$cache/kwok.version" ] && [ "$(cat "$cache/kwok.version")" != "$kwok_version" ]; }; then
    need_go kwok
    echo "building kwok $kwok_version"
    GOBIN=$cache go install -trimpath -ldflags '-s -w' "sigs.k8s.io/kwok/cmd/kwok@$kwok_version"
fi
echo "$kwok_version" >"$cache/kwok.version"
