#!/usr/bin/env bash
# Train on several GPUs (or, without GPUs, in several processes on the CPU).
#   tools/dist_train.sh CONFIG GPUS [options of tools/train.py]
# On several nodes, run it on each with NNODES, NODE_RANK and MASTER_ADDR (and PORT) set.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo 'usage: tools/dist_train.sh CONFIG GPUS [options of tools/train.py]' >&2
    exit 2
fi
config=$1
gpus=$2
# A single node uses any free port.
meeting=(--standalone)
if [ "${NNODES:-1}" != 1 ]; then
    meeting=(--nnodes="$NNODES" --node_rank="${NODE_RANK:?the number of this node, from 0}")
    meeting+=(--master_addr="${MASTER_ADDR:?the address of node 0}" --master_port="${PORT:-29500}")
fi
exec "${PYTHON:-python}" -m torch.distributed.run "${meeting[@]}" \
    --nproc_per_node="$gpus" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "${@:3}"
