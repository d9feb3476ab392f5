#!/usr/bin/env bash
# A region of separate processes on this machine: two tenant partitions, two resource managers, an aggregator, a gateway
# and hosts, wired over mutual TLS on loopback. Shows a tenant of each partition deploying, then stops everything.
#
#   examples/region.sh [DIR]     keeps its data in DIR (default: a temporary directory)
#
# The data stays when it ends, and its last line says where; remove it by hand. The programs are taken from
# ARKTOS_BIN_DIR, or built; the ports are six from BASE_PORT (7440) on.
set -euo pipefail
[ -z "${1:-}" ] || { mkdir -p "$1"; set -- "$(cd "$1" && pwd)"; }
cd "$(dirname "$0")/.."

base_port=${BASE_PORT:-7440}
dir=${1:-$(mktemp -d)}
pki=$dir/pki
bin=${ARKTOS_BIN_DIR:-target/release}
command -v kubectl >/dev/null || { echo "this example needs kubectl on the path" >&2; exit 1; }
[ -n "${ARKTOS_BIN_DIR:-}" ] || cargo build --release --package arktos-bin --bins
mkdir -p "$dir"

pids=()
stop() {
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do kill -TERM "${pids[i]}" 2>/dev/null || true; done
  wait 2>/dev/null || true
}
trap stop EXIT

run() { # name, program, arguments…
  local name=$1; shift
  "$@" >"$dir/$name.out" 2>"$dir/$name.log" &
  pids+=($!)
}
url() { echo "https://127.0.0.1:$((base_port + $1))"; }
component() { # name, port offset: how the other roles reach it
  "$bin/arktos" kubeconfig --component --user "arktos:$1" --pki-dir "$pki" --server "$(url "$2")" >"$dir/$1.kubeconfig"
}

component tp-1 1; component tp-2 2; component rm-1 3; component rm-2 4; component aggregator 5
partitions=(--partition "tp-1=$dir/tp-1.kubeconfig" --partition "tp-2=$dir/tp-2.kubeconfig")
managers=(--resource-manager "rm-1=$dir/rm-1.kubeconfig" --resource-manager "rm-2=$dir/rm-2.kubeconfig")

for n in 1 2; do
  run "rm-$n" "$bin/arktos-resource-manager" --name "rm-$n" --data-dir "$dir/rm-$n" --pki-dir "$pki" \
    --listen "127.0.0.1:$((base_port + 2 + n))" "${partitions[@]}"
  run "tp-$n" "$bin/arktos-partition" --name "tp-$n" --data-dir "$dir/tp-$n" --pki-dir "$pki" \
    --listen "127.0.0.1:$((base_port + n))" "${managers[@]}"
  run "hosts-$n" "$bin/arktos-hosts" --resource-manager "rm-$n=$dir/rm-$n.kubeconfig" --hosts 3 --prefix "host-$n" --first $((n * 10))
done
run aggregator "$bin/arktos-aggregator" --pki-dir "$pki" --listen "127.0.0.1:$((base_port + 5))" "${partitions[@]}" "${managers[@]}"
run gateway "$bin/arktos-gateway" --pki-dir "$pki" --listen "127.0.0.1:$base_port" "${partitions[@]}" "${managers[@]}" \
  --aggregator "aggregator=$dir/aggregator.kubeconfig"

user() { # tenant, or nothing for the administrator
  local tenant=${1:+--tenant $1}
  # shellcheck disable=SC2086
  "$bin/arktos" kubeconfig $tenant --pki-dir "$pki" --server "$(url 0)" >"$dir/${1:-admin}.kubeconfig"
}
eventually() { for _ in $(seq 150); do "$@" >/dev/null 2>&1 && return; sleep 0.2; done; "$@"; }

user; user acme; user globex
admin=(kubectl --kubeconfig "$dir/admin.kubeconfig")
eventually "${admin[@]}" get --raw /readyz
for tenant in acme globex; do
  printf 'apiVersion: v1\nkind: Tenant\nmetadata:\n  name: %s\n' "$tenant" >"$dir/$tenant.yaml"
  eventually "${admin[@]}" apply -f "$dir/$tenant.yaml"
done

for tenant in acme globex; do
  kubectl=(kubectl --kubeconfig "$dir/$tenant.kubeconfig")
  eventually "${kubectl[@]}" get serviceaccount default
  eventually "${kubectl[@]}" create deployment web --image=nginx --replicas=4
  "${kubectl[@]}" rollout status deployment/web --timeout=60s
  echo; echo "The pods of tenant $tenant:"
  "${kubectl[@]}" get pods -o wide
done
echo; echo "Where the tenants live:"
for n in 1 2; do
  printf 'tp-%s: ' "$n"
  kubectl --kubeconfig "$dir/tp-$n.kubeconfig" get --raw /api/v1/tenants | grep -o '"name":"[a-z-]*"' | tr '\n' ' '; echo
done
echo; echo "All pods of the region, and all hosts, as its administrator sees them:"
"${admin[@]}" --server "$(url 0)/tenants/all" get pods -A -o wide
"${admin[@]}" get nodes
echo; echo "The data, kubeconfigs and logs stay in $dir."
