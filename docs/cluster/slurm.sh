#!/bin/bash
# A sweep in a SLURM job, on a file system that all nodes share:
#
#   sbatch --nodes=4 --gpus-per-node=4 --cpus-per-task=16 docs/cluster/slurm.sh double_descent --out /shared/runs/double_descent
#
# What follows the file's name goes to `python -m dbviz_ray.sweep`. If nothing follows, Ray waits for `ray job submit` until
# the job's time is over. Submit it from the folder and in the environment (such as an activated venv) in which these
# commands work. Ray starts on the nodes of the job. Shortly before the time limit the sweep is stopped and the job asks for
# its place in the queue again; so it goes on after each limit, preemption and lost node, until the sweep is done.
# docs/slurm.md tells more.
#SBATCH --job-name=dbviz-ray
#SBATCH --ntasks-per-node=1
#SBATCH --time=12:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=dbviz-ray-%j.log

umask 077
# Above the ports of Ray's workers (to 19999) and below those that Linux gives to outgoing connections (from 32768).
export RAY_PORT=$((20000 + SLURM_JOB_ID % 4000)) RAY_USAGE_STATS_ENABLED=0
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN # nobody else on these nodes may join
if [ $# = 0 ]; then
  RAY_AUTH_TOKEN=$(ray get-auth-token --generate) # the one in ~/.ray/auth_token, which `ray job submit` sends
else
  RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
fi

# On each node. No `ray stop` at the end: it would stop the Ray of other jobs, too. SLURM ends what a step has started.
node='
export RAY_ADDRESS=$SLURM_LAUNCH_NODE_IPADDR:$RAY_PORT
head_answers() { ray health-check --address "$RAY_ADDRESS" 2>/dev/null; }
runs() { kill -0 $ray 2>/dev/null; }
# Jobs on one node may not share ports. The agents of Ray take free ones (0): without its port an agent starts no job.
room=(--dashboard-agent-listen-port=0 --num-cpus="${SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}"
  ${SLURM_MEM_PER_NODE:+--memory=$((SLURM_MEM_PER_NODE * 700000))})
if [ "$SLURM_NODEID" = 0 ]; then
  door=$((RAY_PORT + 4000))
  ray start --head --block --node-ip-address="$SLURM_LAUNCH_NODE_IPADDR" --port="$RAY_PORT" --dashboard-port=$door \
    --include-dashboard="$([ $# = 0 ] && echo true || echo false)" --ray-client-server-port=$((RAY_PORT + 8000)) \
    --temp-dir="/tmp/ray-$SLURM_JOB_ID" "${room[@]}" >&2 &
  ray=$!
  trap : TERM # the sweep gets it, too, and its exit code counts
  until head_answers || ! runs; do sleep 1; done
  if [ $# = 0 ]; then
    tries=0
    until answer=$(ray job submit --no-wait --address="http://127.0.0.1:$door" -- true 2>&1) || ! runs; do
      [ $((tries += 1)) = 60 ] && echo "Ray takes no jobs yet: $(tail -n 1 <<<"$answer")" >&2
      sleep 1
    done
    runs && echo "Ray waits for jobs. The way to it from another machine: ssh -N -L 8265:127.0.0.1:$door $SLURMD_NODENAME" >&2
    wait $ray
  else
    runs && python -m dbviz_ray.sweep "$@"
  fi
  code=$?
  scancel --signal=TERM "$SLURM_JOB_ID.$SLURM_STEP_ID" # ends Ray on all nodes
  wait $ray
  exit $code
fi
trap "exit 0" TERM # the sweep goes on without a node, and its own exit code counts
until head_answers; do sleep 1; done
ray start --address="$RAY_ADDRESS" --block "${room[@]}" >&2
exit 0'

srun --wait=60 --kill-on-bad-exit=0 bash -c "$node" node "$@" &
step=$!
cut=
end_step() { scancel --signal=TERM "$SLURM_JOB_ID.0"; } # not `kill $step`: srun would kill the sweep, whose lease then lasts
trap 'cut=1; end_step' USR1
trap end_step TERM # a preemption: SLURM requeues the job by itself
wait $step
code=$?
while kill -0 $step 2>/dev/null; do # a signal ends the wait, not the step
  wait $step
  code=$?
done
if [ -n "$cut" ] && [ $code != 0 ] && [ $# != 0 ]; then
  echo "$(date +%T) the time limit is near: the job asks for its place in the queue again" >&2
  scontrol requeue "$SLURM_JOB_ID" && sleep 600
fi
exit $code
