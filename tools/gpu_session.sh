#!/bin/bash
# A quarter of an hour on a lent GPU, prepared: all small networks that data/gpu-queue.md waits for, beside each other.
#
# Here, before the first call and after the last, in a checkout without changes:
#   FEWSTEPS_DATA=... bash tools/gpu_session.sh carry     what travels into .gpu, .gpu2 and .gpu3; the rest of the tree
#                                                         into .aside (a call carries 64 MiB, the tree is larger)
#   bash tools/gpu_session.sh restore                     everything back in its place
#   bash tools/gpu_session.sh unpack FOLDER               networks that came back into data/in_training, laws into
#                                                         data/statistics, measured rows into FOLDER/res
# There, each as the command of a call, one right after the other: a machine that waits for half a minute goes back,
# and with it all that was not packed. Have the next call ready before the last one ends.
#   bash .gpu/session.sh start                            carry .gpu: Fashion-MNIST, MNIST, code; training begins
#   bash .gpu2/session.sh second                          carry .gpu2: half of CIFAR-10
#   bash .gpu3/session.sh third                           carry .gpu3: the other half
#   bash /tmp/session.sh back 240                         wait, then pack what is ready, each network once; again until
#                                                         the time is spent (back 0 again: everything once more)
#
# Seen on an H200 (27 November 2026): 37 s until the machine runs, 10 s for a call that carries 55 MiB; fourteen
# trainings at once make 175 steps a second together, a full model 10.6, the baseline 16, and keep the card 97 % busy.
# The samplers of PixelAware's Tables 1 and 2 on CIFAR-10 took less than four minutes beside them.
set -eu
export FEWSTEPS_DATA=${FEWSTEPS_DATA:-/tmp/data}
ROWS="ddgan2 progddgan ddgan2-features ddgan2-se ddgan2-pixels ddgan2-special"
ROWS="$ROWS progddgan-constant progddgan-free progddgan-every progddgan-uniform"
SHIPPED="fashion-eye cifar10 cifar10-classifier mnist-classifier"
ASIDE="book notebooks data/results data/pipelines requirements.lock package-lock.json"

carry() {
  if [ -e .aside ]; then
    echo "what travels was put together already: bash tools/gpu_session.sh restore comes first." >&2
    exit 1
  fi
  if [ -n "$(git status --porcelain)" ]; then
    echo "the checkout has changes, which would lie aside: commit them first." >&2
    exit 1
  fi
  rm -rf .gpu .gpu2 .gpu3
  mkdir -p .gpu/data/fashion_mnist .gpu/data/mnist .gpu2/cifar10 .gpu3/cifar10
  exclude=$(git rev-parse --git-path info/exclude)
  for each in .gpu .gpu2 .gpu3 .aside; do
    grep -qx "/$each/" "$exclude" || echo "/$each/" >> "$exclude"
    [ "$each" = .aside ] || cp tools/gpu_session.sh "$each/session.sh"
  done
  cp "$FEWSTEPS_DATA"/fashion_mnist/train-* .gpu/data/fashion_mnist/
  cp "$FEWSTEPS_DATA"/mnist/* .gpu/data/mnist/
  cp "$FEWSTEPS_DATA"/cifar10/{labels.npz,names.txt.xz,*.json,train_0[0-6].webp} .gpu2/cifar10/
  cp "$FEWSTEPS_DATA"/cifar10/{train_0[7-9]*,train_1*,test_*}.webp .gpu3/cifar10/
  chmod -R u+w .gpu .gpu2 .gpu3
  for path in $ASIDE data/checkpoints/* data/statistics/*; do
    name=$(basename "$path")
    case "$path" in
      data/checkpoints/*) case " $SHIPPED " in *" ${name%.*} "*) continue ;; esac ;;
      data/statistics/*) case "$name" in cifar10-32* | mnist-32*) continue ;; esac ;;
    esac
    mkdir -p ".aside/$(dirname "$path")"
    mv "$path" ".aside/$path"
  done
  du -sm .gpu .gpu2 .gpu3
  du -sm --exclude=.git --exclude=.venv --exclude=node_modules --exclude=.gpu2 --exclude=.gpu3 --exclude=.aside .
}

restore() {
  for path in $ASIDE .aside/data/checkpoints/* .aside/data/statistics/*; do
    path=${path#.aside/}
    if [ -e "$path" ]; then
      echo "$path is there again: compare it with .aside/$path, and take one away." >&2
      exit 1
    fi
    mv ".aside/$path" "$path"
  done
  find .aside -type d -empty -delete
  rm -rf .gpu .gpu2 .gpu3
}

start() {
  cp -r . /tmp/tree
  mkdir -p /tmp/data /tmp/runs /tmp/res /tmp/mps /tmp/mpslog
  cp -r .gpu/data/. /tmp/data/
  cp .gpu/session.sh /tmp/
  # Processes then share the card at the same time; nothing about the card is changed.
  service=$(command -v nvidia-cuda-mps-control || ls /usr/local/nvidia/bin/nvidia-cuda-mps-control || true)
  export CUDA_MPS_PIPE_DIRECTORY=/tmp/mps CUDA_MPS_LOG_DIRECTORY=/tmp/mpslog
  if [ -n "$service" ]; then "$service" -d; else echo "no multi-process service: all take turns"; fi
  setsid nohup bash /tmp/session.sh all > /tmp/res/all.log 2>&1 < /dev/null &
  sleep 1
}

second() {
  mkdir -p /tmp/data/cifar10
  cp .gpu2/cifar10/* /tmp/data/cifar10/
}

third() {
  cp .gpu3/cifar10/* /tmp/data/cifar10/
  touch /tmp/data/cifar10/ready
}

many() { python3 tools/gpu_many.py work --state /tmp/runs "$@"; }

pixel() { python3 tools/measure_pixel.py "$@" --device cuda; }

images() { # DATA SUFFIX PARTS: of which each keeps rows of its own
  local k pids=()
  for k in $(seq "$3"); do
    pixel "$1" --suffix="$2" --only images --part "$k" "$3" --out "/tmp/res/pixel-$1$2-$k.json" \
      > "/tmp/res/pixel-$1$2-$k.log" 2>&1 &
    pids+=($!)
  done
  wait "${pids[@]}"
}

of_pixels() {
  until [ -f /tmp/data/cifar10/ready ]; do sleep 1; done
  many cifar10-scale:10300 cifar10-scale-log:10300 cifar10-direct:10300 --at-once 3
  # As many steps for all three, which are compared with each other.
  many cifar10-parallel:4300 cifar10-single:4300 cifar10-either:4300 --at-once 3
  pixel cifar10 --only laws --out /tmp/res/none.json
  cp data/statistics/cifar10-scale.starts /tmp/res/
  cp data/in_training/rows/pixel-cifar10-rivals.json /tmp/res/pixel-rivals.json || true # and goes on from there
  nice -n 5 bash -c "$(declare -f pixel); pixel cifar10 --only rivals --out /tmp/res/pixel-rivals.json" \
    > /tmp/res/pixel-rivals.log 2>&1 &
  images cifar10 "" 4
  for t in 200 100; do # twice the steps of T = 50 for what has more sub-networks, as many for what has not
    many mnist-scale-$t:9000 mnist-direct-$t:9000 --at-once 2
    many mnist-parallel-$t:9000 mnist-single-$t:9000 mnist-either-$t:9000 --at-once 3
    pixel mnist --suffix=-$t --only laws --out /tmp/res/none.json
    cp data/statistics/mnist-scale-$t.starts /tmp/res/
    images mnist -$t 4
  done
}

all() {
  cd /tmp/tree
  export PYTHONPATH=/tmp/tree/lib OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
  export MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=1073741824
  many fashion-ddgan2-long:10000 fashion-ddgan4-long:10000 --at-once 2 & # baselines that have not reached their gate
  many $(for row in $ROWS; do echo "fashion-$row:2600"; done) --at-once 7 &
  of_pixels &
  wait
}

back() { # SECONDS to wait, and "again" for everything and not only what is new
  : "${OUT:?is the folder that is carried back}"
  sleep "$1"
  export PYTHONPATH=/tmp/tree/lib
  cd /tmp/tree
  python3 tools/gpu_many.py show --state /tmp/runs
  python3 tools/gpu_many.py pack --state /tmp/runs --out "$OUT" --files 4 ${2:+--again}
  tar czf "$OUT/results.tgz" -C /tmp res
  tail -n 3 /tmp/res/*.log | cut -c1-160
  uptime
}

unpack() { # FOLDER
  mkdir -p data/in_training
  for path in "$1"/networks-*.tar; do
    [ -e "$path" ] || continue
    tar xf "$path" -C data/in_training --strip-components=1 --exclude='*~*' --wildcards '*.json' '*.safetensors'
  done
  tar xzf "$1/results.tgz" -C "$1"
  find "$1/res" -name '*.starts' -exec mv {} data/statistics/ ';'
  ls data/in_training
  echo "python tools/measure_pixel.py --join $1/res/pixel-*.json"
}

case "${1:-}" in
  carry | restore | start | second | third | all | back | unpack) "$@" ;;
  *) sed -n '2,24s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
