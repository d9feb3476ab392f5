#!/usr/bin/env bash
# A region that survives any one death, on this machine: three members of etcd; a directory, a resource manager and a
# partition of two API servers each, whose controllers and schedulers stand by for each other; two gateways; hosts.
# Then it kills the processes whose controllers and scheduler work, and a member of etcd, and shows that a tenant's
# deployment runs all the same. `--stay` leaves the region there until ctrl-C.
#
#   examples/available.sh [--stay] [DIR]     keeps its data in DIR (default: a temporary directory)
#
# The data stays when it ends, and its last line says where; remove it by hand. The programs are taken from
# ARKTOS_BIN_DIR, or built; the ports are some from BASE_PORT (7470) on.
set -euo pipefail

stay=
if [ "${1:-}" = --stay ]; then stay=1; shift; fi
[ -z "${1:-}" ] || { mkdir -p "$1"; set -- "$(cd "$1" && pwd)"; }
cd "$(dirname "$0")/.."
base_port=${BASE_PORT:-7470}
dir=${1:-$(mktemp -d)}
pki=$dir/pki
bin=${ARKTOS_BIN_DIR:-target/release}
for program in kubectl etcd openssl; do
  command -v "$program" >/dev/null || { echo "this example needs $program on the path" >&2; exit 1; }
done
[ -n "${ARKTOS_BIN_DIR:-}" ] || cargo build --release --package arktos-bin --bins --features etcd
mkdir -p "$dir"

declare -A pids
stop() {
  for name in "${!pids[@]}"; do kill -TERM "${pids[$name]}" 2>/dev/null || true; done
  wait 2>/dev/null || true
}
trap stop EXIT

run() { # name, program, arguments…
  local name=$1; shift
  "$@" >>"$dir/$name.out" 2>>"$dir/$name.log" &
  pids[$name]=$!
}
address() { echo "127.0.0.1:$((base_port + $1))"; }
eventually() { for _ in $(seq 300); do "$@" >/dev/null 2>&1 && return; sleep 0.2; done; "$@"; }

# The three members of etcd.
members=$(for n in 0 1 2; do printf '%s' "${comma:-}m$n=http://$(address $((n + 20)))"; comma=,; done)
member() { # number
  run "etcd-$1" etcd --name "m$1" --data-dir "$dir/etcd-$1" --initial-cluster "$members" \
    --listen-client-urls "http://$(address $((10 + $1)))" --advertise-client-urls "http://$(address $((10 + $1)))" \
    --listen-peer-urls "http://$(address $((20 + $1)))" --initial-advertise-peer-urls "http://$(address $((20 + $1)))"
}
for n in 0 1 2; do member $n; done
# Each process asks another member first.
store=("etcd:http://$(address 10),http://$(address 11),http://$(address 12)" \
       "etcd:http://$(address 11),http://$(address 12),http://$(address 10)")

# The authority, and the kubeconfigs of those who come with one.
config() { "$bin/arktos" kubeconfig --pki-dir "$pki" "$@"; }
config --server "https://$(address 0)" >"$dir/admin.kubeconfig"
config --server "https://$(address 0)" --tenant acme >"$dir/acme.kubeconfig"
config --server "https://$(address 1)" --tenant acme >"$dir/acme-1.kubeconfig"
config --component --user arktos:rm-1 --server "https://$(address 4)" >"$dir/rm-1.kubeconfig"

# The roles, twice each. Those of one store need the same keys for the tokens of service accounts.
directory="https://$(address 2),https://$(address 3)"
keys=$(openssl rand -base64 32)
role() { # program, name, number, port offset, arguments…
  local program=$1 name=$2 number=$3 port=$4; shift 4
  mkdir -p -m 700 "$dir/$name-$number"
  (umask 077; echo "$keys" >"$dir/$name-$number/service-account.keys")
  run "$name-$number" "$bin/arktos-$program" --name "$name" --data-dir "$dir/$name-$number" --pki-dir "$pki" \
    --store "${store[number]}" --listen "$(address "$port")" "$@"
}
for n in 0 1; do
  role directory directory $n $((2 + n))
  role resource-manager rm-1 $n $((4 + n)) --directory "$directory"
  role partition tp-1 $n $((6 + n)) --directory "$directory"
  run "gateway-$n" "$bin/arktos-gateway" --pki-dir "$pki" --listen "$(address $n)" --directory "$directory"
done
run hosts "$bin/arktos-hosts" --resource-manager "rm-1=$dir/rm-1.kubeconfig" --hosts 3 \
  --server "https://$(address 4),https://$(address 5)"

admin=(kubectl --kubeconfig "$dir/admin.kubeconfig")
acme=(kubectl --kubeconfig "$dir/acme.kubeconfig")
eventually "${admin[@]}" get --raw /readyz
printf 'apiVersion: v1\nkind: Tenant\nmetadata:\n  name: acme\n' >"$dir/acme.yaml"
eventually "${admin[@]}" apply -f "$dir/acme.yaml"
eventually "${acme[@]}" get serviceaccount default
deploys() { # kubectl, name
  local kubectl=(kubectl --kubeconfig "$1") begun=$SECONDS
  eventually "${kubectl[@]}" create deployment "$2" --image=nginx --replicas=3
  eventually "${kubectl[@]}" rollout status "deployment/$2" --timeout=5s
  echo "… and deployment $2 runs after $((SECONDS - begun)) s"
}
echo "The region is up."
deploys "$dir/acme.kubeconfig" web-0

leaders() { # whoever works now, of those who take turns
  for name in tp-1 rm-1; do
    for n in 0 1; do
      grep -q 'leads from now on' "$dir/$name-$n.log" && [ -n "${pids[$name-$n]:-}" ] && echo "$name-$n" && break
    done
  done
}
for victim in $(leaders) etcd-0 gateway-0; do
  echo "kill -9 $victim …"
  kill -KILL "${pids[$victim]}"; wait "${pids[$victim]}" 2>/dev/null || true
  unset "pids[$victim]"
  deploys "$dir/acme-1.kubeconfig" "after-$victim"
done
echo; echo "What acme has, by the gateway that is left, with one process of each role and two members of etcd:"
kubectl --kubeconfig "$dir/acme-1.kubeconfig" get deployments
if [ -n "$stay" ]; then echo "The region stays until ctrl-C; its kubeconfigs are in $dir."; wait; fi
echo "The data, kubeconfigs and logs stay in $dir."
