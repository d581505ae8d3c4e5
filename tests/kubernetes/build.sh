#!/bin/sh
# Builds the control plane that go.mod pins into a cache outside the tree; a second run finds it there.
# Prints the directory; with --where it only says where that is. KUBEBUILDER_ASSETS names tools that exist already.
# Needs Go (1.26 or newer) and a Go module proxy; without either it says so and fails.
set -eu
cd "$(dirname "$0")"
version=$(sed -n 's|.*k8s.io/kubernetes \(v[0-9][0-9.]*\).*|\1|p' go.mod | head -1)
cache=${BULKHEAD_KUBERNETES_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/bulkhead/kubernetes-tools}
bin=$cache/$(cat build.sh go.mod go.sum | sha256sum | cut -c1-16)
[ -z "${KUBEBUILDER_ASSETS:-}" ] || { echo "$KUBEBUILDER_ASSETS"; exit 0; }
[ "${1:-}" != --where ] || { echo "$bin"; exit 0; }
go=$(command -v go || echo /usr/local/go/bin/go)
[ -x "$go" ] || { echo "kubernetes-tools: Go is missing (install Go 1.26 or set KUBEBUILDER_ASSETS)" >&2; exit 1; }

[ -n "$version" ] || { echo "kubernetes-tools: go.mod names no k8s.io/kubernetes version" >&2; exit 1; }

# One compile at a time at the lowest priority: this runs beside other work. GOFLAGS=-p=2 overrides it.
flags="-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/client-go/pkg/version.gitVersion=$version"
mkdir -p "$bin"
build() { # <binary> <package>; the rename publishes, so a binary that exists is whole
  [ -x "$bin/$1" ] && return
  echo "kubernetes-tools: building $1" >&2
  CGO_ENABLED=0 GOFLAGS="${GOFLAGS:--p=1} -mod=readonly" nice -n 19 "$go" build -trimpath -ldflags "-s -w $flags" -o "$bin/.$1" "$2"
  mv "$bin/.$1" "$bin/$1"
}
build etcd go.etcd.io/etcd/server/v3
build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
build kubectl k8s.io/kubernetes/cmd/kubectl
build kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager
build kube-scheduler k8s.io/kubernetes/cmd/kube-scheduler
echo "$bin"
