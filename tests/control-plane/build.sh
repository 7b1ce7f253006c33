#!/bin/sh
# Builds what tests need for a real control plane into .cache/control-plane/:
#   control-plane  etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl in one program
#   kwok           makes pods ready without running them
# Needs Go. The first build takes about ten minutes on two cores; when all is up to date it takes no time.
set -eu

kwok_version=v0.7.0
kubernetes_version=v1.36.3

here=$(cd "$(dirname "$0")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache/control-plane
mkdir -p "$cache"
export CGO_ENABLED=0

# Up to date means: made from the same files. Times say nothing, as a fresh clone is newer than any cache.
sources=$(cat "$here/build.sh" "$here/main.go" "$here/go.mod" "$here/go.sum" | cksum)

need_go() {
    command -v go >/dev/null || {
        echo "go is needed to build $1: install Go from your system's packages" >&2
        exit 1
    }
}

# Without these the programs call themselves v0.0.0, which kubectl cannot parse.
version="-X k8s.io/component-base/version.gitVersion=$kubernetes_version"
version="$version -X k8s.io/client-go/pkg/version.gitVersion=$kubernetes_version"

if [ ! -x "$cache/control-plane" ] || [ "$(cat "$cache/control-plane.sources" 2>/dev/null)" != "$sources" ]; then
    need_go control-plane
    echo "building control-plane (the first time takes about ten minutes)"
    (cd "$here" && go build -trimpath -ldflags "-s -w $version" -o "$cache/control-plane.new" .)
    mv "$cache/control-plane.new" "$cache/control-plane"
    echo "$sources" >"$cache/control-plane.sources"
fi

if [ ! -x "$cache/kwok" ] || { [ -e "$cache/kwok.version" ] && [ "$(cat "$cache/kwok.version")" != "$kwok_version" ]; }; then
    need_go kwok
    echo "building kwok $kwok_version"
    GOBIN=$cache go install -trimpath -ldflags '-s -w' "sigs.k8s.io/kwok/cmd/kwok@$kwok_version"
fi
echo "$kwok_version" >"$cache/kwok.version"
